"""The arithmetic of minutes and credits. Pure; times are milliseconds since the epoch.

Minute k of a rental (counted from 1) begins k-1 minutes after its container started and is due
at that instant. k minutes cost floor(rate * k / 60) together: an hour costs the rate, exactly.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from store.bills import Due
from store.ledger import Usage

MINUTE_MS = 60_000
HOUR_MS = 3_600_000

_PORTION = 100
# Metering that is this late was stopped, or had no cluster to believe.
_MISSED_MINUTES = 5


def cost(rate_per_hour: int, minutes: int) -> int:
    """Return what the first `minutes` minutes cost together."""
    return rate_per_hour * minutes // 60


def begun(started_at: int, until: int) -> int:
    """Return how many minutes have begun by `until`, that instant included."""
    return 0 if until < started_at else (until - started_at) // MINUTE_MS + 1


def begins(started_at: int, minute: int) -> int:
    """Return when minute number `minute` begins."""
    return started_at + (minute - 1) * MINUTE_MS


@dataclass(slots=True)
class Bill:
    """What one rental is charged in one pass: minutes up to `minutes`, in the ledger's parts.

    `out_at` is when the first minute that can't be paid began, if there is one.
    """

    due: Due
    minutes: int
    out_at: int | None = None

    @property
    def amount(self) -> int:
        """Credits to take."""
        return cost(self.due.rate_per_hour, self.minutes) - cost(
            self.due.rate_per_hour, self.due.charged_minutes
        )


def missed(due: Iterable[Due]) -> Iterator[tuple[str, int]]:
    """Yield the rentals that long went uncharged, and for how many milliseconds."""
    for one in due:
        late = begun(one.started_at, one.limit) - one.charged_minutes
        if late > _MISSED_MINUTES:
            yield one.pod_id, late * MINUTE_MS


def portions(due: Iterable[Due]) -> Iterator[list[Due]]:
    """Yield them some hundred at a time, an account's always together."""
    portion: list[Due] = []
    for _, together in groupby(sorted(due, key=_account), key=_account):
        portion += together
        if len(portion) >= _PORTION:
            yield portion
            portion = []
    if portion:
        yield portion


def _account(due: Due) -> str:
    return due.account_id


def plan(due: Iterable[Due]) -> list[Bill]:
    """Decide what is charged now. An account's rentals share its balance, minute by minute.

    Where the balance does not reach, minutes are paid in the order in which they began, so that
    the outcome does not depend on when or how often this is run.
    """
    by_account: dict[str, list[Due]] = defaultdict(list)
    for one in due:
        by_account[one.account_id].append(one)
    bills: list[Bill] = []
    for together in by_account.values():
        full = [Bill(one, begun(one.started_at, one.limit)) for one in together]
        enough = sum(bill.amount for bill in full) <= together[0].balance
        bills += full if enough else _scarce(together)
    return bills


def _scarce(together: Sequence[Due]) -> list[Bill]:
    balance = together[0].balance
    bills = [Bill(one, one.charged_minutes) for one in together]
    waiting = [(_next(bill), bill.due.pod_id, number) for number, bill in enumerate(bills)]
    heapq.heapify(waiting)
    while waiting:
        at, pod_id, number = heapq.heappop(waiting)
        bill = bills[number]
        rate = bill.due.rate_per_hour
        price = cost(rate, bill.minutes + 1) - cost(rate, bill.minutes)
        if price > balance:
            bill.out_at = at
            continue
        balance -= price
        bill.minutes += 1
        if _next(bill) <= bill.due.limit:
            heapq.heappush(waiting, (_next(bill), pod_id, number))
    return bills


def _next(bill: Bill) -> int:
    return begins(bill.due.started_at, bill.minutes + 1)


def runs_out(due: Sequence[Due]) -> int | None:
    """Return when the first minute begins that an account can't pay, None if it never comes.

    `due` are all of its running rentals, whatever is charged of them; their `limit` is ignored.
    It is exact: where nothing changes meanwhile, `plan` ends a rental at this very instant.
    """
    rate = sum(one.rate_per_hour for one in due)
    if not rate:
        return None
    balance = due[0].balance
    # Between now and one hour after the last credit was spent at the full rate.
    soon = min(begins(one.started_at, one.charged_minutes + 1) for one in due)
    late = max(begins(one.started_at, one.charged_minutes + 1) for one in due)
    late += HOUR_MS * (balance // rate + 2)
    while soon < late:
        middle = (soon + late) // 2
        if sum(_ahead(one, middle) for one in due) > balance:
            late = middle
        else:
            soon = middle + 1
    return soon


def _ahead(due: Due, until: int) -> int:
    minutes = max(due.charged_minutes, begun(due.started_at, until))
    return cost(due.rate_per_hour, minutes) - cost(due.rate_per_hour, due.charged_minutes)


def usage_lines(bills: Iterable[Bill]) -> list[Usage]:
    """Cut bills at the UTC hours in which their minutes began."""
    balances: dict[str, int] = {}
    lines: list[Usage] = []
    for bill in bills:
        due = bill.due
        balance = balances.get(due.account_id, due.balance)
        done = due.charged_minutes
        # A closed hour stays closed, however the clock is set.
        started = due.started_at - due.stepped_ms
        while done < bill.minutes:
            hour = begins(started, done + 1) // HOUR_MS
            upto = min(bill.minutes, begun(started, (hour + 1) * HOUR_MS - 1))
            amount = cost(due.rate_per_hour, done) - cost(due.rate_per_hour, upto)
            balance += amount
            lines.append(Usage(due.account_id, due.pod_id, hour, upto - done, amount, balance))
            done = upto
        balances[due.account_id] = balance
    return lines
