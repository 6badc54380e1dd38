"""Finding out what clients did by their URLs, and what follows from it."""

from dataclasses import replace

import structlog

from kgpud.clock import Clock
from kgpud.objects.checksums import Checksums
from kgpud.objects.erasing import Eraser
from kgpud.objects.plan import Limits, verdict
from kgpud.objects.stores import ObjectStore, Stored
from store import objects
from store.db import Connection, Database
from store.objects import TransitObject

log = structlog.get_logger()

# A small object's checksum is known by then, and a GET right after the upload says ready.
_CHECKSUM_SECONDS = 5.0


class Looking:
    """Measures objects: what is there is ready or, if it may not stay, deleted."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        store: ObjectStore,
        limits: Limits,
        checksums: Checksums,
        eraser: Eraser,
    ) -> None:
        self._db = db
        self._clock = clock
        self._store = store
        self._limits = limits
        self._checksums = checksums
        self._eraser = eraser

    async def look(self, o: TransitObject) -> TransitObject:
        """Ask the store for a live object; return it as it is now. Raises StoreFailed.

        That it is there already is no reason not to ask: its PUT URL may have been used again.
        """
        stored = await self._store.head(o.object_id)
        if stored is None:
            return o if o.etag is None else await self._lost(o)
        if stored.etag != o.etag or stored.size != o.size_bytes:
            o = await self._measure(o, stored)
        if o.ended_at is None and o.ready_at is None:
            self._checksums.want(o.object_id)
        return o

    async def look_and_wait(self, o: TransitObject) -> TransitObject:
        """Look, and give a checksum a moment to be verified."""
        o = await self.look(o)
        if o.etag is None or o.ready_at is not None or o.ended_at is not None:
            return o
        await self._checksums.wait(o.object_id, _CHECKSUM_SECONDS)
        async with self._db.reading() as rx:
            return await objects.get(rx, o.object_id) or o

    async def _measure(self, o: TransitObject, stored: Stored) -> TransitObject:
        now = self._clock.now_ms()
        async with self._db.transaction() as tx:
            current = await objects.get(tx, o.object_id)
            if current is None or current.ended_at is not None:
                return current or replace(o, ended_at=now, end_reason="deleted")
            others = await objects.held(tx, o.account_id, now, but=o.object_id)
            reason = verdict(current, stored.size, others, self._limits)
            if reason is None:
                ready_at = now if current.sha256 is None else None
                await objects.measure(tx, o.object_id, stored.size, stored.etag, ready_at)
            else:
                await objects.end(tx, [o.object_id], now, reason)
            current = await _kept(tx, o.object_id)
        log.info("object.measured", object=o.object_id, size=stored.size, refused=reason)
        if reason is not None:
            await self._eraser.try_erase(current)
        return current

    async def _lost(self, o: TransitObject) -> TransitObject:
        now = self._clock.now_ms()
        async with self._db.transaction() as tx:
            if await objects.end(tx, [o.object_id], now, "lost"):
                log.error("object.lost", object=o.object_id)
            return await _kept(tx, o.object_id)


async def _kept(conn: Connection, object_id: str) -> TransitObject:
    o = await objects.get(conn, object_id)
    assert o is not None, "it was there in this transaction"
    return o
