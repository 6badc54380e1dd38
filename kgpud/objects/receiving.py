"""Taking PUTs to disk: who may write how much, and what becomes of it at its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kgpud.errors import Code, UserError
from kgpud.objects.disk import Disk
from kgpud.objects.incoming import Incoming
from kgpud.objects.layout import Layout, free_bytes
from kgpud.objects.signing import Grant
from kgpud.objects.stores import Slot, StoreFull, UploadGone


class Receiver:
    """Every PUT that is under way. `floor` is how many bytes of the disk stay free."""

    def __init__(self, disk: Disk, layout: Layout, *, floor: int) -> None:
        self._disk = disk
        self._layout = layout
        self._floor = floor
        self._promised: dict[Incoming, int] = {}
        self._writing: dict[tuple[str, int], Incoming] = {}  # by key or upload, and part (0: whole)
        self._ending: set[str] = set()

    async def check_room(self, size: int) -> None:
        """Raise StoreFull if so many bytes would take the disk below its floor."""
        if await self._disk.do(self._room) < size:
            raise StoreFull("the free space would fall below its floor")

    @asynccontextmanager
    async def receiving(self, grant: Grant, size: int) -> AsyncIterator[Incoming]:
        """Lend what takes a PUT's `size` bytes: `keep` it, or nothing of it stays.

        Raises StoreFull, StoreFailed, and NOT_FOUND for a part of an upload that is over.
        """
        await self.check_room(size)
        opened = self._whole(grant.key) if grant.slot is None else self._part(grant, grant.slot)
        async with opened as incoming:
            self._promised[incoming] = size
            try:
                yield incoming
            finally:
                del self._promised[incoming]

    async def keep(self, grant: Grant, incoming: Incoming) -> str:
        """Make what has come the object, or the part of it; return its ETag."""
        slot, upload_id = grant.slot, grant.upload_id
        if slot is None or upload_id is None:
            return await incoming.finish(lambda: self._layout.keep(incoming.path, grant.key))
        return await incoming.finish(lambda: self._layout.mark(grant.key, upload_id, slot))

    async def drop(self, key: str) -> None:
        """Let whoever sends this object whole go on no more."""
        incoming = self._writing.get((key, 0))
        if incoming is not None:
            await incoming.give_way()

    @asynccontextmanager
    async def closing(self, upload_id: str) -> AsyncIterator[None]:
        """Let nobody write to this upload while the block ends it."""
        self._ending.add(upload_id)
        try:
            for (upload, _number), incoming in list(self._writing.items()):
                if upload == upload_id:
                    await incoming.stop()
            yield
        finally:
            self._ending.discard(upload_id)

    @asynccontextmanager
    async def _whole(self, key: str) -> AsyncIterator[Incoming]:
        draft = self._layout.draft(key)
        incoming = Incoming(self._disk, draft, self._floored, new=True)
        try:
            async with self._newest((key, 0), incoming), incoming:
                yield incoming
        finally:
            await self._disk.do(lambda: draft.unlink(missing_ok=True))

    @asynccontextmanager
    async def _part(self, grant: Grant, slot: Slot) -> AsyncIterator[Incoming]:
        upload_id = grant.upload_id or ""
        if upload_id in self._ending:
            raise _over()
        data = self._layout.upload(grant.key, upload_id) / "data"
        incoming = Incoming(self._disk, data, self._floored, offset=slot.offset)
        try:
            async with self._newest((upload_id, slot.number), incoming):
                await self._disk.do(lambda: self._layout.unmark(grant.key, upload_id, slot.number))
                async with incoming:
                    yield incoming
        except UploadGone:
            raise _over() from None

    @asynccontextmanager
    async def _newest(self, name: tuple[str, int], incoming: Incoming) -> AsyncIterator[None]:
        """Let a PUT take the place of one of the same thing.

        Whoever sends again has given the first connection up; we may not know of that yet.
        """
        before, self._writing[name] = self._writing.get(name), incoming
        try:
            if before is not None:
                await before.give_way()
            yield
        finally:
            if self._writing.get(name) is incoming:
                del self._writing[name]

    def _floored(self) -> int:
        return free_bytes(self._layout.root) - self._floor

    def _room(self) -> int:
        coming = sum(size - incoming.written for incoming, size in self._promised.items())
        return self._floored() - coming


def _over() -> UserError:
    return UserError(Code.NOT_FOUND, "this upload in parts is over")
