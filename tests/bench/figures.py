"""How the bench compares two sides: medians of interleaved pairs, told in one line each."""

import statistics
from collections.abc import Callable

ROUNDS = 7


def medians(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int = ROUNDS
) -> tuple[float, float, float]:
    """Return the medians of both sides, and that of the pairs' ratios.

    A pair's two runs follow each other: what else the machine does then touches both.
    """
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return mine, other, statistics.median(one / two for one, two in pairs)


def tell(name: str, unit: str, mine: float, other: float, ratio: float | None = None) -> None:
    shown = mine / other if ratio is None else ratio
    print(
        f"{name:32} {mine:8.2f} {unit:9} sshd {other:8.2f} {unit:9} ratio {shown:.2f}", flush=True
    )
