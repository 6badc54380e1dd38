"""Charging: every running rental, minute by minute, and the closing of a rental's bill."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from kgpud import billing, clocksteps
from kgpud.clock import Clock
from kgpud.clocksteps import ClockSteps
from kgpud.reasons import OUT_OF_CREDITS, is_operators_fault
from store import activity, bills, ledger, rentals
from store.db import Connection, Database, StoreUnavailable
from store.records import Rental

log = structlog.get_logger()

_PERIOD_SECONDS = 1.0
_HAD_ENDED = "minutes after the container had ended"


@dataclass(frozen=True)
class Ended:
    """A rental that has just ended, and why."""

    pod_id: str
    reason: str


class Metering:
    """Charges all rentals once a second.

    `ended` is told of each rental that could not be paid any further, after that is written.
    `may_charge` says whether the cluster's word is fresh: while it isn't nothing is charged, and
    the minutes that really ran are charged when it is again. They are no idleness: nobody could
    come in meanwhile.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        ended: Callable[[str, str], None],
        *,
        steps: ClockSteps,
        may_charge: Callable[[], bool] = lambda: True,
    ) -> None:
        self._db = db
        self._clock = clock
        self._ended = ended
        self._steps = steps
        self._may_charge = may_charge
        #: Whether all that ran was charged, a second ago at most.
        self.current = False

    async def charge(self) -> list[Ended]:
        """Charge every minute begun by now; return the rentals that ended for want of credits."""
        await self._steps.absorb()
        async with self._db.reading() as rx:
            first = await bills.next_due(rx)
        if first is None or first > self._clock.now_ms():
            return []
        async with self._db.transaction() as tx:
            now = await clocksteps.now(tx, self._clock)
            due = await bills.due(tx, now)
            await activity.excuse(tx, billing.missed(due), now)
            ended = await _charge_due(tx, due, now)
        for one in ended:
            log.info("rental.out_of_credits", pod_id=one.pod_id)
            self._ended(one.pod_id, one.reason)
        return ended

    async def run(self) -> None:
        """Charge for ever. A database that can't be written just now is tried again."""
        while True:
            current = self._may_charge()
            if current:
                try:
                    await self.charge()
                except StoreUnavailable as error:
                    current = False
                    log.error("metering.store_unavailable", error=str(error))  # noqa: TRY400
            self.current = current
            await self._clock.sleep(_PERIOD_SECONDS)


async def close_rental(
    conn: Connection, rental: Rental, at: int, reason: str, now: int, *, failed: bool = False
) -> Ended:
    """Settle the last minutes of a live rental and end it, in the caller's transaction.

    The bill stops at `at` or at the container's end. If a minute before that can't be paid, the
    rental ended there, `out_of_credits`. Minutes charged beyond the container's end are refunded,
    and so is the last one where `reason` is the operator's fault. The end that is written is
    never before the last paid minute began, nor before the rental was made, whatever our clock did.
    """
    at = max(at, rental.made_at)
    if rental.ran_since is not None:
        limit = max(at, billing.begins(rental.ran_since, rental.charged_minutes))
        if rental.finished_at is not None:
            limit = min(limit, rental.finished_at)
        at = max(at, limit)
        minutes = billing.begun(rental.ran_since, limit)
        if minutes < rental.charged_minutes:
            await _refund(conn, rental, minutes, now, _HAD_ENDED)
        ended = await _charge_due(conn, await bills.due(conn, limit, rental.pod_id), now)
        if ended:
            return ended[0]
        if is_operators_fault(reason) and minutes > 0:
            paid = await rentals.get(conn, rental.pod_id)
            assert paid is not None, "it was read in this transaction"
            await _refund(conn, paid, minutes - 1, now, f"the last minute: {reason}")
    await rentals.end(conn, [rentals.End(rental.pod_id, at, reason, failed)], now)
    return Ended(rental.pod_id, reason)


async def give_back(conn: Connection, rental: Rental, now: int) -> None:
    """Refund what an ended rental paid beyond its container's end, if that became known later."""
    assert rental.ended_at is not None
    assert rental.end_reason is not None
    if rental.ran_since is None or rental.finished_at is None:
        return
    minutes = billing.begun(rental.ran_since, min(rental.ended_at, rental.finished_at))
    minutes = max(0, minutes - is_operators_fault(rental.end_reason))
    if minutes < rental.charged_minutes:
        await _refund(conn, rental, minutes, now, _HAD_ENDED)


async def _refund(conn: Connection, rental: Rental, minutes: int, now: int, note: str) -> None:
    """Take back what was charged beyond the first `minutes` minutes."""
    cost = billing.cost(rental.rate_per_hour, minutes)
    await ledger.add(
        conn,
        rental.account_id,
        rental.cost - cost,
        at=now,
        kind="refund",
        who="metering",
        note=note,
        pod_id=rental.pod_id,
        minutes=rental.charged_minutes - minutes,
    )
    change = bills.Charge(rental.pod_id, rental.charged_minutes, minutes, cost)
    await bills.charge(conn, [change])


async def _charge_due(conn: Connection, due: list[bills.Due], now: int) -> list[Ended]:
    """Charge what is due in one go; end what can't be paid at the minute it can't pay.

    A portion at a time, so that nobody's keystroke waits for ten thousand bills.
    """
    return [
        ended
        for portion in billing.portions(due)
        for ended in await _charge_portion(conn, portion, now)
    ]


async def _charge_portion(conn: Connection, due: list[bills.Due], now: int) -> list[Ended]:
    planned = billing.plan(due)
    await ledger.add_usage(conn, billing.usage_lines(planned), now)
    await bills.charge(
        conn,
        [
            bills.Charge(
                bill.due.pod_id,
                bill.due.charged_minutes,
                bill.minutes,
                billing.cost(bill.due.rate_per_hour, bill.minutes),
            )
            for bill in planned
            if bill.minutes > bill.due.charged_minutes
        ],
    )
    out = [
        rentals.End(bill.due.pod_id, bill.out_at, OUT_OF_CREDITS)
        for bill in planned
        if bill.out_at is not None
    ]
    await rentals.end(conn, out, now)
    return [Ended(end.pod_id, end.reason) for end in out]
