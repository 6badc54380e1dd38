"""`make bench`: the bastion beside OpenSSH's own sshd, same client, same machine, in one run.

Prints medians of interleaved pairs and their ratio: time that passed and, for the bulk ones, the
CPU seconds per GiB of each server without its clients and commands. Absolute figures are this
machine's; the ratios are what to compare, and on a noisy machine those of CPU.
"""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.dev import Pod, eventually, make_key, rent, running

from .sides import Side, daemon, one_connection, sshd, timed

ROUNDS = 7
BULK = 512 * 1024 * 1024
GIB = 1024 * 1024 * 1024
COPIED = BULK // 2
FILES, FILE = 3000, 2000


def medians(ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float]:
    pairs = [(ours(), theirs()) for _ in range(ROUNDS)]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return mine, other


def tell(name: str, unit: str, mine: float, other: float) -> None:
    print(f"{name:32} {mine:8.2f} {unit:9} sshd {other:8.2f} {unit:9} ratio {mine / other:.2f}")


def compare(name: str, command: str, ours: Side, theirs: Side) -> None:
    seconds = medians(lambda: timed([*ours.argv, command]), lambda: timed([*theirs.argv, command]))
    tell(name, "s", *seconds)


def bulk(name: str, command: str, ours: Side, theirs: Side, stdin: Path | None = None) -> None:
    """Compare one transfer of BULK bytes over connections that are there already."""
    costs: dict[int, list[float]] = {id(ours): [], id(theirs): []}

    def once(side: Side) -> float:
        before = side.cpu()
        seconds = timed([*side.argv, command], stdin)
        costs[id(side)].append((side.cpu() - before) * GIB / BULK)
        return seconds

    tell(name, "s", *medians(lambda: once(ours), lambda: once(theirs)))
    mine, other = (statistics.median(costs[id(side)]) for side in (ours, theirs))
    tell("", "CPU s/GiB", mine, other)


def copies(name: str, source: Path, ours: tuple[Side, str], theirs: tuple[Side, str]) -> None:
    """Compare `scp -O` up into a folder of each side, every time to a new name, and back."""
    numbers = itertools.count()

    def up(side: Side, there: str) -> float:
        return timed(
            side.scp("-r", str(source), f"{side.argv[-1]}:{there}/{source.name}-{next(numbers)}")
        )

    def down(side: Side, there: str) -> float:
        back = source.with_name(f"back-{source.name}-{next(numbers)}")
        return timed(side.scp("-r", f"{side.argv[-1]}:{there}/{source.name}", str(back)))

    for side, there in (ours, theirs):
        timed(side.scp("-r", str(source), f"{side.argv[-1]}:{there}/{source.name}"))
    tell(f"scp -O {name} up", "s", *medians(lambda: up(*ours), lambda: up(*theirs)))
    tell(f"scp -O {name} down", "s", *medians(lambda: down(*ours), lambda: down(*theirs)))


def make_small_files(top: Path) -> Path:
    for number in range(FILES):
        path = top / str(number % 30) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(FILE))
    return top


def rent_once(pod: Pod, folder: Path, number: int) -> float:
    key = make_key(folder / f"rent-{number}")
    began = time.perf_counter()
    rented = rent(pod.dev, key, gpu_model="rtx3090")
    seconds = time.perf_counter() - began
    rented.release()
    eventually(lambda: rented.view()["phase"] == "Ended")
    return seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = make_key(folder / "key")
        data = folder / "data"
        data.write_bytes(os.urandom(BULK))
        began = time.perf_counter()
        with running(folder / "state") as dev, sshd(folder, 22022) as theirs:
            print(f"{'daemon ready (sshd too)':32} {time.perf_counter() - began:8.2f} s")
            pod = rent(dev, key)
            rents = [rent_once(pod, folder, number) for number in range(ROUNDS)]
            print(f"{'rent → ready':32} {statistics.median(rents):8.2f} s")
            ours = daemon(dev, pod)
            compare("ssh … true", "true", ours, theirs)
            with (
                one_connection(ours, folder / "ours") as our_one,
                one_connection(theirs, folder / "theirs") as their_one,
            ):
                bulk("512 MiB down", f"head -c {BULK} /dev/zero", our_one, their_one)
                bulk("512 MiB up", "cat >/dev/null", our_one, their_one, data)
            os.truncate(data, COPIED)
            places = (ours, "/workspace"), (theirs, str(folder))
            (folder / "sources").mkdir()
            copies("256 MiB", data.rename(folder / "sources/file"), *places)
            copies("3,000 files", make_small_files(folder / "sources/tree"), *places)


main()
