"""Verifying the checksums that users declared, by reading back what lies in the store.

A plain ``curl --upload-file`` tells the store no SHA-256, so there is no other way to know.
"""

import asyncio
import contextlib
import hashlib
import hmac

import structlog

from kgpud.clock import Clock
from kgpud.objects.erasing import Eraser
from kgpud.objects.stores import ObjectStore, StoreFailed
from store import objects
from store.db import Database, StoreUnavailable
from store.objects import TransitObject

log = structlog.get_logger()

# So many objects are read at the same time: one of 50 GB doesn't hold up the small ones.
_READERS = 4


class Checksums:
    """Reads measured objects that wait for it, and makes them ready or ends them."""

    def __init__(self, db: Database, clock: Clock, store: ObjectStore, eraser: Eraser) -> None:
        self._db = db
        self._clock = clock
        self._store = store
        self._eraser = eraser
        self._wanted: asyncio.Queue[str] = asyncio.Queue()
        self._done: dict[str, asyncio.Event] = {}

    def want(self, object_id: str) -> None:
        """Have an object read soon, unless it is waiting for that already."""
        if object_id not in self._done:
            self._done[object_id] = asyncio.Event()
            self._wanted.put_nowait(object_id)

    async def wait(self, object_id: str, seconds: float) -> None:
        """Return once an object that is wanted was read, or after so many seconds."""
        done = self._done.get(object_id)
        if done is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await done.wait()

    async def run(self) -> None:
        """Read for ever. A store that fails, or a busy disk, is left to the next sweep's wish."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_READERS):
                group.create_task(self._read_wanted())

    async def _read_wanted(self) -> None:
        while True:
            object_id = await self._wanted.get()
            try:
                await self._verify(object_id)
            except StoreFailed as error:
                log.warning("object.not_verified", object=object_id, cause=str(error))
            except StoreUnavailable as error:
                log.error("objects.store_unavailable", error=str(error))  # noqa: TRY400
            finally:
                self._done.pop(object_id).set()

    async def _verify(self, object_id: str) -> None:
        async with self._db.reading() as rx:
            o = await objects.get(rx, object_id)
        if o is None or o.etag is None or o.sha256 is None:
            return
        digest = await self._digest(object_id)
        stored = await self._store.head(object_id)
        if stored is None or stored.etag != o.etag:
            # It was written over while we read. The next look measures it, and wants this again.
            return
        await self._conclude(o, good=hmac.compare_digest(digest, o.sha256))

    async def _digest(self, object_id: str) -> str:
        digest = hashlib.sha256()
        async with contextlib.aclosing(self._store.read(object_id)) as blocks:
            async for block in blocks:
                # 1 MiB takes a millisecond or three: not on the loop.
                await asyncio.to_thread(digest.update, block)
        return digest.hexdigest()

    async def _conclude(self, o: TransitObject, *, good: bool) -> None:
        now = self._clock.now_ms()
        assert o.size_bytes is not None
        assert o.etag is not None
        async with self._db.transaction() as tx:
            current = await objects.get(tx, o.object_id)
            if current is None or current.ended_at is not None or current.etag != o.etag:
                return
            if good:
                await objects.measure(tx, o.object_id, o.size_bytes, o.etag, now)
            else:
                await objects.end(tx, [o.object_id], now, "checksum_mismatch")
            current = await objects.get(tx, o.object_id)
        log.info("object.verified", object=o.object_id, good=good)
        if not good and current is not None:
            await self._eraser.try_erase(current)
