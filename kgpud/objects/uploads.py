"""Where an object's bytes are to go: one PUT, or parts of which the object is made at the end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from weakref import WeakValueDictionary

from kgpud.clock import Clock
from kgpud.errors import Code, UserError
from kgpud.objects.plan import slots
from kgpud.objects.stores import PUT_SECONDS, ObjectStore, Part, UploadGone
from kgpud.objects.ticket import Ticket, window
from store import objects
from store.db import Database
from store.objects import TransitObject

_NAMED = 20


class Uploads:
    """Begins and finishes uploads. Methods raise StoreFailed, and OBJECT_EXPIRED.

    While an upload is being finished, a store may list no part of it any more, or not know it: so
    nobody else looks then.
    """

    def __init__(self, db: Database, clock: Clock, store: ObjectStore) -> None:
        self._db = db
        self._clock = clock
        self._store = store
        self._finishing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def begin(self, o: TransitObject) -> Ticket:
        """Return where an object is to be put: one that nobody was told of yet, or its parts.

        Raises UploadGone if the store has given the parts up.
        """
        seconds, until = window(o, PUT_SECONDS, self._clock.now_ms())
        if o.part_bytes is None:
            url = await self._store.put_url(o.object_id, o.declared_bytes, seconds)
            return Ticket(o, until, put_url=url)
        upload_id = o.upload_id
        if upload_id is None:
            upload_id = await self._store.begin_upload(o.object_id)
            await self._set(o, upload_id)
        there = {part.number for part in await self._store.parts(o.object_id, upload_id)}
        missing = [slot for slot in slots(o) if slot.number not in there]
        parts = [
            (slot, await self._store.part_url(o.object_id, upload_id, slot, seconds))
            for slot in missing
        ]
        return Ticket(replace(o, upload_id=upload_id), until, parts=parts)

    async def go_on(self, o: TransitObject) -> Ticket:
        """Return fresh URLs for the parts that are missing; a single PUT has but the first one."""
        if o.part_bytes is None or o.etag is not None or o.object_id in self._finishing:
            return Ticket(o, self._clock.now_ms())
        try:
            return await self.begin(o)
        except UploadGone:
            await self._set(o, None)
            return await self.begin(replace(o, upload_id=None))

    @asynccontextmanager
    async def finishing(self, object_id: str) -> AsyncIterator[None]:
        """Wait until nobody else finishes this object's upload; then nobody looks at its parts."""
        turn = self._finishing.setdefault(object_id, asyncio.Lock())
        async with turn:
            yield

    async def finish(self, o: TransitObject, upload_id: str) -> None:
        """Make an object of its parts. Raises UPLOAD_INCOMPLETE."""
        try:
            parts = await self._store.parts(o.object_id, upload_id)
            _check_complete(o, parts)
            await self._store.finish_upload(o.object_id, upload_id, parts)
        except UploadGone:
            # Finished by a call whose answer was lost? Then the object is there.
            if await self._store.head(o.object_id) is None:
                await self._set(o, None)
                raise UserError(
                    Code.UPLOAD_INCOMPLETE, "the store gave the parts up; send all of them again"
                ) from None

    async def _set(self, o: TransitObject, upload_id: str | None) -> None:
        async with self._db.transaction() as tx:
            await objects.set_upload(tx, o.object_id, upload_id)


def _check_complete(o: TransitObject, parts: Sequence[Part]) -> None:
    there = {part.number: part.size for part in parts}
    wanted = slots(o)
    missing = [str(slot.number) for slot in wanted if there.get(slot.number) != slot.size]
    if missing:
        named = ", ".join(missing[:_NAMED]) + (" …" if len(missing) > _NAMED else "")
        raise UserError(
            Code.UPLOAD_INCOMPLETE, f"{len(missing)} of {len(wanted)} parts are missing: {named}"
        )
