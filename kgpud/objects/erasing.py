"""Taking what has ended out of the store, for good."""

import structlog

from kgpud.clock import Clock
from kgpud.objects.stores import ObjectStore, StoreFailed
from store import objects
from store.db import Database
from store.objects import TransitObject

log = structlog.get_logger()


class Eraser:
    """Deletes the bytes of ended objects. What fails is tried again by the sweep."""

    def __init__(self, db: Database, clock: Clock, store: ObjectStore) -> None:
        self._db = db
        self._clock = clock
        self._store = store

    async def erase(self, o: TransitObject) -> None:
        """Delete an ended object and its parts from the store. Raises StoreFailed."""
        if o.upload_id is not None:
            await self._store.abort_upload(o.object_id, o.upload_id)
        await self._store.delete(o.object_id)
        async with self._db.transaction() as tx:
            await objects.save_gone(tx, o.object_id, self._clock.now_ms())
        log.info("object.erased", object=o.object_id, reason=o.end_reason)

    async def try_erase(self, o: TransitObject) -> None:
        """Delete it if the store lets us; else the sweep will."""
        try:
            await self.erase(o)
        except StoreFailed as error:
            log.warning("object.not_erased", object=o.object_id, cause=str(error))
