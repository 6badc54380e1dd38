"""Tells people that their balance runs out: an hour and ten minutes before it does."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from kgpud import billing, clocksteps
from kgpud.changes import Changes
from kgpud.clock import Clock
from store import bills, events
from store.bills import Due
from store.db import Connection, Database, StoreUnavailable

log = structlog.get_logger()

WARNINGS = (60, 10)

_PERIOD_SECONDS = 5.0
_MINUTE_MS = 60_000


class LowBalance:
    """Watches the balances that running rentals are paid from.

    Every rental of an account is told, once for each of `WARNINGS`, and anew after a top-up:
    by an event, on itself, and by `notify(pod_id, sentence)` on its terminals.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        changes: Changes,
        notify: Callable[[str, str], None],
    ) -> None:
        self._db = db
        self._clock = clock
        self._changes = changes
        self._notify = notify

    async def run(self) -> None:
        """Never returns. A database that can't be written just now is tried again."""
        while True:
            try:
                await self.sweep()
            except StoreUnavailable as error:
                log.error("lowbalance.store_unavailable", error=str(error))  # noqa: TRY400
            await self._clock.sleep(_PERIOD_SECONDS)

    async def sweep(self) -> None:
        """Compare what every running rental was told with what is so now."""
        async with self._db.reading() as rx:
            if not await _changed(rx, self._clock.now_ms()):
                return
        async with self._db.transaction() as tx:
            now = await clocksteps.now(tx, self._clock)
            changed = await _changed(tx, now)
            await bills.save_low_balance(tx, [(pod, left) for pod, (_, left) in changed.items()])
            warned = {
                pod: left for pod, (told, left) in changed.items() if left and _worse(told, left)
            }
            await events.add(
                tx, [(pod_id, now, "low_balance", str(left)) for pod_id, left in warned.items()]
            )
        for pod_id in changed:
            self._changes.tell(pod_id)
        for pod_id, left in warned.items():
            log.info("rental.low_balance", pod_id=pod_id, minutes=left)
            self._notify(pod_id, _sentence(left))


async def _changed(conn: Connection, now: int) -> Mapping[str, tuple[int | None, int | None]]:
    """Return what each rental was told and what it should be, in minutes, where these differ."""
    told = await bills.low_balances(conn)
    left = _warnings(await bills.short(conn, 2 * WARNINGS[0]), now)
    return {
        pod_id: (told.get(pod_id), minutes)
        for pod_id, minutes in left.items()
        if told.get(pod_id) != minutes
    }


def _warnings(running: Iterable[Due], now: int) -> Mapping[str, int | None]:
    """Return the warning that each running rental deserves, None for most."""
    by_account: dict[str, list[Due]] = defaultdict(list)
    for due in running:
        by_account[due.account_id].append(due)
    return {
        due.pod_id: minutes
        for together in by_account.values()
        for minutes in [_warning(together, now)]
        for due in together
    }


def _warning(together: Sequence[Due], now: int) -> int | None:
    rate = sum(due.rate_per_hour for due in together)
    if together[0].balance > 2 * rate * WARNINGS[0] // 60:
        # Far from it by now: it was topped up.
        return None
    ends_at = billing.runs_out(together)
    if ends_at is None:
        return None
    left = ends_at - now
    return min((minutes for minutes in WARNINGS if left <= minutes * _MINUTE_MS), default=None)


def _worse(told: int | None, left: int) -> bool:
    return told is None or left < told


def _sentence(minutes: int) -> str:
    time = "an hour" if minutes == WARNINGS[0] else f"{minutes} minutes"
    return f"the balance lasts for {time} at most; at zero the rental is released with its disk"
