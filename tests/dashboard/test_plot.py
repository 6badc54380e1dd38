"""What the plot of usage draws, number by number."""

from itertools import pairwise

import pytest

from kgpud.dashboard import plot
from kgpud.dashboard.plot import Plot

DAYS = range(20_000, 20_030)


def _drawn(spent: dict[tuple[int, str], int]) -> Plot:
    return plot.bars(spent, DAYS, width=960, height=260)


def test_bars_stand_on_each_other_and_are_as_tall_as_the_axis_says() -> None:
    drawn = _drawn({(20_000, "v100"): 300, (20_000, "rtx4090"): 700, (20_029, "v100"): 250})
    low, high = drawn.rows[0], drawn.rows[-1]
    tall = (low.at - high.at) / int(high.label)
    for bar, credits_ in zip(drawn.bars, (700, 300, 250), strict=True):
        assert bar.credits == credits_
        assert bar.height == pytest.approx(credits_ * tall)
    below, above, last = drawn.bars
    assert below.model == "rtx4090"
    assert below.y + below.height == pytest.approx(drawn.floor)
    assert above.y + above.height == pytest.approx(below.y)
    assert last.x + last.width < drawn.width
    assert below.x > drawn.left


@pytest.mark.parametrize("most", [0, 1, 3, 7, 10, 99, 1000, 9001, 123_456_789])
def test_the_axis_has_a_few_round_numbers_that_reach_the_highest_bar(most: int) -> None:
    rows = _drawn({(20_010, "v100"): most}).rows
    labels = [int(row.label) for row in rows]
    assert 2 <= len(labels) <= 6
    assert labels[0] == 0
    assert labels[-1] >= most
    rise = labels[1]
    assert str(rise).rstrip("0") in ("1", "2", "5")
    assert labels == [rise * number for number in range(len(labels))]


def test_days_that_got_more_back_than_they_cost_are_flat() -> None:
    (bar,) = _drawn({(20_010, "v100"): -50}).bars
    assert (bar.height, bar.credits) == (0, 0)


@pytest.mark.parametrize("width", [328, 960])
def test_days_are_named_apart_and_today_is(width: float) -> None:
    columns = plot.bars({}, DAYS, width=width, height=240).columns
    assert columns[-1].label == "Nov 2"
    between = [b.at - a.at for a, b in pairwise(columns)]
    assert min(between) >= 50
    assert columns[-1].at < width - 18
