"""The arithmetic of minutes: exact per hour, each minute once, whenever the passes come."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kgpud.billing import (
    HOUR_MS,
    MINUTE_MS,
    Bill,
    begins,
    begun,
    cost,
    plan,
    portions,
    runs_out,
    usage_lines,
)
from store.bills import Due
from tests.manual_clock import START_MS

rates = st.integers(0, 20_000)
minutes = st.integers(0, 5_000)


@given(rates, minutes)
def test_an_hour_costs_the_rate_wherever_it_begins(rate: int, done: int) -> None:
    assert cost(rate, done + 60) - cost(rate, done) == rate


@given(rates, minutes)
def test_no_minute_strays_from_its_share(rate: int, done: int) -> None:
    minute = cost(rate, done + 1) - cost(rate, done)
    assert minute in {rate // 60, rate // 60 + 1}
    assert 0 <= rate * done - 60 * cost(rate, done) < 60


@given(st.integers(-HOUR_MS, 48 * HOUR_MS))
def test_a_minute_has_begun_from_its_first_instant(elapsed: int) -> None:
    count = begun(START_MS, START_MS + elapsed)
    if elapsed < 0:
        assert count == 0
    else:
        assert begins(START_MS, count) <= START_MS + elapsed < begins(START_MS, count + 1)


starts = st.integers(0, 3 * HOUR_MS).map(lambda offset: START_MS + offset)
fleets = st.lists(st.tuples(starts, st.integers(1, 6_000)), min_size=1, max_size=5)


def dues(
    fleet: list[tuple[int, int]], done: dict[int, int], out: dict[int, int], now: int, balance: int
) -> list[Due]:
    return [
        Due(f"p{n}", "a", rate, start, done[n], now, balance)
        for n, (start, rate) in enumerate(fleet)
        if n not in out and begun(start, now) > done[n]
    ]


def run(
    fleet: list[tuple[int, int]], passes: list[int], balance: int
) -> tuple[dict[int, int], dict[int, int], int, dict[tuple[str, int], int]]:
    done = dict.fromkeys(range(len(fleet)), 0)
    out: dict[int, int] = {}
    hours: dict[tuple[str, int], int] = {}
    for now in sorted(passes):
        bills = plan(dues(fleet, done, out, now, balance))
        for line in usage_lines(bills):
            balance += line.amount
            assert line.balance_after == balance >= 0
            hours[line.pod_id, line.hour] = hours.get((line.pod_id, line.hour), 0) + line.minutes
        for bill in bills:
            number = int(bill.due.pod_id[1:])
            done[number] = bill.minutes
            if bill.out_at is not None:
                out[number] = bill.out_at
    return done, out, balance, hours


@settings(max_examples=150)
@given(
    fleets,
    st.lists(st.integers(0, 6 * HOUR_MS), max_size=12),
    st.integers(0, 6 * HOUR_MS),
    st.integers(0, 40_000),
)
def test_the_outcome_does_not_depend_on_when_the_passes_come(
    fleet: list[tuple[int, int]], passes: list[int], last: int, balance: int
) -> None:
    end = START_MS + last
    between = [START_MS + moment for moment in passes if moment <= last]
    assert run(fleet, [end], balance) == run(fleet, [*between, end], balance)


@settings(max_examples=150)
@given(fleets, st.integers(0, 6 * HOUR_MS), st.integers(0, 40_000))
def test_every_begun_minute_is_paid_or_ended_its_rental(
    fleet: list[tuple[int, int]], last: int, balance: int
) -> None:
    end = START_MS + last
    done, out, left, hours = run(fleet, [end], balance)
    paid = sum(cost(rate, done[n]) for n, (_, rate) in enumerate(fleet))
    assert balance - paid == left >= 0
    for number, (start, rate) in enumerate(fleet):
        assert sum(n for (pod, _), n in hours.items() if pod == f"p{number}") == done[number]
        if number in out:
            assert out[number] == begins(start, done[number] + 1) <= end
            assert cost(rate, done[number] + 1) - cost(rate, done[number]) > left
        else:
            assert done[number] == begun(start, end)
    assert all(n <= 60 for n in hours.values())


def test_minutes_belong_to_the_hour_in_which_they_begin() -> None:
    start = START_MS + HOUR_MS - MINUTE_MS - 1
    due = Due("p", "a", 60, start, 0, start + 62 * MINUTE_MS, 1000)
    lines = usage_lines([Bill(due, 63)])
    first = START_MS // HOUR_MS
    assert [(u.hour, u.minutes, u.amount) for u in lines] == [
        (first, 2, -2),
        (first + 1, 60, -60),
        (first + 2, 1, -1),
    ]


dear = st.lists(st.tuples(starts, st.integers(300, 6_000)), min_size=1, max_size=5)


@settings(max_examples=100, deadline=None)
@given(dear, st.integers(0, 6 * HOUR_MS), st.integers(0, 20_000))
def test_it_is_known_to_the_instant_when_credits_run_out(
    fleet: list[tuple[int, int]], now: int, balance: int
) -> None:
    done, out, left, _ = run(fleet, [START_MS + now], balance)
    running = [
        Due(f"p{n}", "a", rate, start, done[n], 0, left)
        for n, (start, rate) in enumerate(fleet)
        if n not in out
    ]
    end = runs_out(running)
    if not running:
        assert end is None
        return
    assert end is not None
    before = plan(dues(fleet, done, out, end - 1, left))
    assert all(bill.out_at is None for bill in before)
    then = plan(dues(fleet, done, out, end, left))
    assert {bill.out_at for bill in then} - {None} == {end}


def test_what_costs_nothing_lasts() -> None:
    assert runs_out([]) is None
    assert runs_out([Due("p", "a", 0, START_MS, 5, 0, 10)]) is None


@given(st.lists(st.integers(0, 30), max_size=600))
def test_portions_keep_accounts_together_and_lose_nobody(owners: list[int]) -> None:
    due = [Due(f"p{n}", f"a{owner}", 1, 0, 0, 0, 0) for n, owner in enumerate(owners)]
    found = list(portions(due))
    assert sorted(one.pod_id for part in found for one in part) == sorted(d.pod_id for d in due)
    accounts = [account for part in found for account in {one.account_id for one in part}]
    assert len(accounts) == len(set(accounts))
    # Only whole accounts make one longer than it need be.
    most = max((owners.count(owner) for owner in owners), default=0)
    assert all(0 < len(part) < 100 + most for part in found)
