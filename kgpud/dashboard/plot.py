"""A bar plot of credits per day, in the shapes that a template draws. Pure.

Lengths are in the units of the drawing's own `width` and `height`; y grows downwards.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_LEFT, _TOP, _RIGHT, _BOTTOM = 52.0, 26.0, 18.0, 24.0
_TICKS = 5
_LABEL = 56.0


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
class Tick:
    """A mark on an axis, and what stands there: a number of credits, or a day."""

    at: float
    label: int | str


@dataclass(frozen=True)
class Plot:
    """A drawing: bars that stand on `floor` and begin right of `left`, and the marks on its axes.

    `rows` are credits, lowest first, `columns` days.
    """

    width: float
    height: float
    left: float
    floor: float
    bars: Sequence[Bar]
    rows: Sequence[Tick]
    columns: Sequence[Tick]


def bars(spent: Mapping[tuple[int, str], int], days: range, *, width: float, height: float) -> Plot:
    """Stack what was spent by day (since the epoch) and class, over all of `days`."""
    by_day: dict[int, dict[str, int]] = defaultdict(dict)
    for (day, model), credits_ in spent.items():
        by_day[day][model] = max(0, credits_)
    most = max(1, *(sum(by_day[day].values()) for day in days))
    rise = _rise(most)
    ticks = -(-most // rise)
    floor, step = height - _BOTTOM, (width - _LEFT - _RIGHT) / len(days)
    scale = (floor - _TOP) / (rise * ticks)
    drawn = []
    for number, day in enumerate(days):
        x, y = _LEFT + (number + 0.12) * step, floor
        for model, credits_ in sorted(by_day[day].items()):
            tall = credits_ * scale
            y -= tall
            drawn.append(Bar(x, y, step * 0.76, tall, model, date(day), credits_))
    rows = [Tick(floor - n * rise * scale, n * rise) for n in range(ticks + 1)]
    every = -(-_LABEL // step)
    columns = [
        Tick(_LEFT + (number + 0.5) * step, _short(day))
        for number, day in enumerate(days)
        if (len(days) - 1 - number) % every == 0
    ]
    return Plot(width, height, _LEFT, floor, drawn, rows, columns)


def date(day: int) -> str:
    """Return a day, counted since the epoch, as ``2026-11-24``."""
    return _date(day).strftime("%Y-%m-%d")


def _short(day: int) -> str:
    return f"{_date(day):%b} {_date(day).day}"


def _date(day: int) -> datetime:
    return datetime.fromtimestamp(day * 86400, UTC)


def _rise(most: int) -> int:
    """Return the least round number of credits between two marks with which few reach `most`."""
    size = 1
    while True:
        for digit in (1, 2, 5):
            if digit * size * _TICKS >= most:
                return digit * size
        size *= 10
