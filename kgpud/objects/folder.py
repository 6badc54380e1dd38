"""The embedded store: a folder on the daemon's disk, reached by signed URLs of our own."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import structlog

from kgpud.objects.disk import Disk
from kgpud.objects.layout import Layout
from kgpud.objects.receiving import Receiver
from kgpud.objects.signing import Grant, Signer
from kgpud.objects.stores import Part, Slot, Stored, StoreFailed, Upload

log = structlog.get_logger()

_BLOCK = 1 << 20


class FolderStore:
    """Implements ObjectStore. What is not private is for what serves its URLs.

    `put_bytes` is the most that one PUT takes, `floor` how many bytes of the disk stay free.
    """

    def __init__(
        self, layout: Layout, signer: Signer, disk: Disk, *, put_bytes: int, floor: int
    ) -> None:
        self.layout = layout
        self.signer = signer
        self.disk = disk
        self.put_bytes = put_bytes
        self.receiver = Receiver(disk, layout, floor=floor)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, folder: Path, signer: Signer, *, put_bytes: int, floor: int
    ) -> AsyncIterator[Self]:
        """Hold a store in a folder of its own, made if it is missing. Raises OSError."""
        layout = Layout(folder)
        layout.make()
        disk = Disk()
        try:
            yield cls(layout, signer, disk, put_bytes=put_bytes, floor=floor)
        finally:
            disk.close()

    async def prepare(self) -> None:
        """Remove the halves that a crash left."""
        removed = await self.disk.do(self.layout.remove_halves)
        if removed:
            log.info("objects.halves_removed", count=removed)

    async def check_room(self, size: int) -> None:
        """Raise StoreFull if so many bytes would take the disk below its floor."""
        await self.receiver.check_room(size)

    async def put_url(self, key: str, size: int | None, seconds: int) -> str:
        """Return a URL that takes the object by PUT."""
        return self.signer.url("PUT", Grant(key, size), seconds)

    async def get_url(self, key: str, seconds: int) -> str:
        """Return a URL that gives the object by GET, in ranges too, and answers HEAD."""
        return self.signer.url("GET", Grant(key), seconds)

    async def head(self, key: str) -> Stored | None:
        """Return what lies there."""
        return await self.disk.do(lambda: self.layout.stored(key))

    async def read(self, key: str) -> AsyncGenerator[bytes, None]:
        """Yield the object's bytes."""
        file = await self.disk.do(lambda: self.layout.open(key))
        if file is None:
            raise StoreFailed("failed", "the object went while it was read")
        with file:
            while data := await self.disk.do(lambda: file.read(_BLOCK)):
                yield data

    async def delete(self, key: str) -> None:
        """Delete the object, and what is coming in for it. Who is reading it may read on."""
        await self.receiver.drop(key)
        await self.disk.do(lambda: self.layout.delete(key))

    async def list(self) -> Sequence[Stored]:
        """Return every whole object."""
        return await self.disk.do(self.layout.all_stored)

    async def begin_upload(self, key: str) -> str:
        """Make the folder of an upload in parts."""
        upload_id = secrets.token_hex(12)
        await self.disk.do(lambda: self.layout.begin(key, upload_id))
        return upload_id

    async def part_url(self, key: str, upload_id: str, slot: Slot, seconds: int) -> str:
        """Return a URL that takes one part by PUT."""
        return self.signer.url("PUT", Grant(key, slot.size, upload_id, slot), seconds)

    async def parts(self, key: str, upload_id: str) -> Sequence[Part]:
        """Return the parts that are whole. Raises UploadGone."""
        return await self.disk.do(lambda: self.layout.parts(key, upload_id))

    async def finish_upload(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Turn the upload's one file into the object. Raises UploadGone."""
        size = sum(part.size for part in parts)
        async with self.receiver.closing(upload_id):
            await self.disk.do(lambda: self.layout.finish(key, upload_id, size))

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Remove an upload and its parts."""
        async with self.receiver.closing(upload_id):
            await self.disk.do(lambda: self.layout.abort(key, upload_id))

    async def uploads(self) -> Sequence[Upload]:
        """Return the uploads in parts that are open."""
        return await self.disk.do(self.layout.uploads)
