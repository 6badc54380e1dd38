"""Keeps rows and store of one mind, and both free of what is over."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from kgpud.clock import Clock
from kgpud.objects.erasing import Eraser
from kgpud.objects.looking import Looking
from kgpud.objects.plan import DAY_MS
from kgpud.objects.side_by_side import side_by_side
from kgpud.objects.stores import ObjectStore, Stored, StoreFailed
from store import objects
from store.db import Database, StoreUnavailable
from store.objects import ObjectEnd, TransitObject

log = structlog.get_logger()

PERIOD_SECONDS = 60.0
_KEPT_MS = 30 * DAY_MS
# Rows at a time: a few milliseconds on the loop.
_PAGE = 500


class Sweep:
    """Runs beside everything else: every minute, and at once when it is `wanted`.

    Rows are read before the store is listed, to find what it has lost, and again after, to find
    what has no live row: an object's row is there before its first URL is.
    """

    def __init__(
        self, db: Database, clock: Clock, store: ObjectStore, looking: Looking, eraser: Eraser
    ) -> None:
        self._db = db
        self._clock = clock
        self._store = store
        self._looking = looking
        self._eraser = eraser
        self._prepared = False
        self.wanted = asyncio.Event()

    async def run(self) -> None:
        """Never returns. What the store or a busy disk does is survived; a bug is raised."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            while True:
                await self._survive(self._round)
                await self.wanted.wait()

    async def _round(self) -> None:
        await self.once()
        # Only now: the store may have been away before.
        if not self._prepared:
            await self._store.prepare()
            self._prepared = True

    async def once(self) -> None:
        """Sweep. Raises StoreFailed and StoreUnavailable; what came before them is done."""
        self.wanted.clear()
        await self._end_what_is_over()
        await self._erase_ended()
        await self._compare()
        await self._abort_uploads()
        async with self._db.transaction() as tx:
            await objects.forget(tx, self._clock.now_ms() - _KEPT_MS)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(PERIOD_SECONDS)
            self.wanted.set()

    async def _survive(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except StoreFailed as error:
            log.error("objects.sweep_failed", cause=str(error))  # noqa: TRY400 - no traceback
        except StoreUnavailable as error:
            log.error("objects.store_unavailable", error=str(error))  # noqa: TRY400

    async def _end_what_is_over(self) -> None:
        now = self._clock.now_ms()
        async with self._db.reading() as rx:
            over: list[tuple[ObjectEnd, list[str]]] = [
                ("expired", await objects.past_due(rx, now)),
                ("rental_ended", await objects.left_by_rentals(rx)),
            ]
        for reason, ids in over:
            if ids:
                async with self._db.transaction() as tx:
                    count = await objects.end(tx, ids, now, reason)
                log.info("objects.ended", reason=reason, count=count)

    async def _erase_ended(self) -> None:
        async with self._db.reading() as rx:
            ended = await objects.not_gone(rx)
        await side_by_side(self._eraser.erase, ended)

    async def _compare(self) -> None:
        before = await self._live()
        stored = {one.key: one for one in await self._store.list()}
        after = await self._live()
        orphans = [key for key in stored if key not in after]
        if orphans:
            log.warning("objects.orphans", count=len(orphans))
        await side_by_side(self._store.delete, orphans)
        changed = [o for o in before.values() if o.object_id in after and _changed(o, stored)]
        await side_by_side(self._looking.look, changed)

    async def _abort_uploads(self) -> None:
        uploads = await self._store.uploads()
        live = await self._live()
        for upload in uploads:
            o = live.get(upload.key)
            # One whose id is not written yet is just being begun.
            if o is None or o.upload_id not in (None, upload.upload_id):
                await self._store.abort_upload(upload.key, upload.upload_id)
                log.info("objects.upload_aborted", object=upload.key)

    async def _live(self) -> dict[str, TransitObject]:
        found: dict[str, TransitObject] = {}
        last = ""
        while True:
            async with self._db.reading() as rx:
                page = await objects.live(rx, last, _PAGE)
            found |= {o.object_id: o for o in page}
            if len(page) < _PAGE:
                return found
            last = page[-1].object_id


def _changed(o: TransitObject, stored: dict[str, Stored]) -> bool:
    found = stored.get(o.object_id)
    if found is None:
        return o.etag is not None
    return o.ready_at is None or (found.size, found.etag) != (o.size_bytes, o.etag)
