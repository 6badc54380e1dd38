"""A bar plot of credits per day, in the shapes that a template draws. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

HEIGHT, WIDTH = 160.0, 720.0


@dataclass(frozen=True)
class Bar:
    """One class of GPU on one day: a rectangle, and what it stands for."""

    x: float
    y: float
    width: float
    height: float
    model: str
    day: str
    credits: int


@dataclass(frozen=True)
class Plot:
    """Bars, the value at the top of the scale, and the first and last day."""

    bars: Sequence[Bar]
    top: int
    first: str
    last: str


def bars(spent: Mapping[tuple[int, str], int], days: range) -> Plot:
    """Stack what was spent by day (since the epoch) and class, over all of `days`."""
    totals = {day: sum(c for (d, _m), c in spent.items() if d == day) for day in days}
    top = max(1, *totals.values())
    step = WIDTH / len(days)
    drawn = []
    for number, day in enumerate(days):
        y = HEIGHT
        for (_day, model), credits_ in sorted(item for item in spent.items() if item[0][0] == day):
            height = HEIGHT * max(0, credits_) / top
            y -= height
            x = round(number * step + step * 0.1, 2)
            drawn.append(
                Bar(
                    x,
                    round(y, 2),
                    round(step * 0.8, 2),
                    round(height, 2),
                    model,
                    date(day),
                    credits_,
                )
            )
    return Plot(drawn, top, date(days[0]), date(days[-1]))


def date(day: int) -> str:
    """Return a day, counted since the epoch, as ``2026-11-24``."""
    return datetime.fromtimestamp(day * 86400, UTC).strftime("%Y-%m-%d")
