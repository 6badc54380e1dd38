"""Takes in what pods of ours know better than the store: it was restored from a backup.

A pod without a row has somebody's work in it, so it is never killed for that. It is billed from the
start of its container: what was charged before is not in the books that there are. A pod that tells
of a newer key than its row was re-keyed since: the old key stays dead.
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
    """Looks at each pod of ours once. One that can't be adopted is warned of."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        # Rows are never deleted: what has one need not be looked up again while it is there.
        self._known: set[str] = set()
        self._refused: set[str] = set()

    async def adopt(self, pods: Sequence[tuple[PodState, dict[str, Any]]]) -> None:
        """Take pods of this installation; those whose rows are as new as they are passed over."""
        self._known -= {pod.name for pod, _ in pods if pod.deleted}
        # One that is on its way out is nobody's any more.
        new = {p.name: item for p, item in pods if not p.deleting and p.name not in self._known}
        if not new:
            return
        async with self._db.reading() as rx:
            found = await rentals.some(rx, new)
        for rental in found:
            if rental.ended_at is None and adoption.newer_key(new[rental.pod_id], rental):
                await self._rekey(rental.pod_id, new[rental.pod_id])
            self._known.add(rental.pod_id)
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

    async def _rekey(self, name: str, item: dict[str, Any]) -> None:
        async with self._db.transaction() as tx:
            now = await clocksteps.now(tx, self._clock)
            rental = await rentals.get(tx, name)
            if rental is None or rental.ended_at is not None:
                return
            rekeyed = adoption.newer_key(item, rental)
            if rekeyed is None:
                return
            await rentals.set_generation(tx, name, rekeyed.key_generation)
            await _pin(tx, rekeyed, now)
        log.warning("rental.key_adopted", pod_id=name)


async def _write(tx: Connection, rental: Rental, now: int) -> None:
    """Write a rental's row and key. Raises ValueError if it belongs to nobody here."""
    if await accounts.find(tx, rental.account_id) is None:
        raise ValueError(f"there is no account {rental.account_id}")
    await rentals.insert(tx, replace(rental, fingerprint=None))
    await rentals.acknowledge(tx, rental.pod_id, now)
    await _pin(tx, rental, now)


async def _pin(tx: Connection, rental: Rental, now: int) -> None:
    """Pin the key that a pod tells of, unless it opens another rental by now."""
    fingerprint, line = rental.fingerprint, ""
    if fingerprint is None or await keys.live_rental(tx, fingerprint) is not None:
        # Its owner gets in by rotating to another: nobody has this one's private half.
        spare = ssh_keys.mint(rental.pod_id).public
        fingerprint, line = spare.fingerprint, spare.line
    await keys.pin(tx, rental.pod_id, fingerprint, line, rental.key_generation, now)
