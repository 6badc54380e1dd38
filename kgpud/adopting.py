"""Takes in the pods of ours that the store has no row of: it was restored from a backup.

Somebody's work is in them, so they are never killed for that. They are billed from the start of
their container: what was charged before is not in the books that there are.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from gateway import keys as ssh_keys
from kgpud import clocksteps
from kgpud.clock import Clock
from kgpud.cluster import adoption
from kgpud.cluster.pods import PodState
from store import accounts, keys, rentals
from store.db import Connection, Database
from store.records import Rental

log = structlog.get_logger()


class Adopting:
    """Writes the rows of pods that have none. A pod that can't be adopted is warned of, once."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        # Rows are never deleted: what has one need not be looked up again while it is there.
        self._known: set[str] = set()
        self._refused: set[str] = set()

    async def adopt(self, pods: Sequence[tuple[PodState, dict[str, Any]]]) -> None:
        """Take pods of this installation; those that have rows are passed over."""
        self._known -= {pod.name for pod, _ in pods if pod.deleted}
        # One that is on its way out is nobody's any more.
        new = {p.name: item for p, item in pods if not p.deleting and p.name not in self._known}
        if not new:
            return
        async with self._db.reading() as rx:
            self._known |= {rental.pod_id for rental in await rentals.some(rx, new)}
        for name, item in new.items():
            if name not in self._known and name not in self._refused:
                await self._adopt(name, item)

    async def _adopt(self, name: str, item: dict[str, Any]) -> None:
        try:
            async with self._db.transaction() as tx:
                now = await clocksteps.now(tx, self._clock)
                rental = adoption.read(item, now)
                await _write(tx, rental, now)
        except ValueError as error:
            self._refused.add(name)
            log.warning("reconcile.pod_without_rental", pod=name, why=str(error))
        else:
            self._known.add(name)
            log.warning("rental.adopted", pod_id=name, account=rental.account_id)


async def _write(tx: Connection, rental: Rental, now: int) -> None:
    """Write a rental's row and key. Raises ValueError if it belongs to nobody here."""
    if await accounts.find(tx, rental.account_id) is None:
        raise ValueError(f"there is no account {rental.account_id}")
    await rentals.insert(tx, replace(rental, fingerprint=None))
    await rentals.acknowledge(tx, rental.pod_id, now)
    fingerprint, line = rental.fingerprint, ""
    if fingerprint is None or await keys.live_rental(tx, fingerprint) is not None:
        # Its owner gets in by rotating to another: nobody has this one's private half.
        spare = ssh_keys.mint(rental.pod_id).public
        fingerprint, line = spare.fingerprint, spare.line
    await keys.pin(tx, rental.pod_id, fingerprint, line, 1, now)
