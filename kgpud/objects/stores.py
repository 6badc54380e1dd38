"""The seam between transit objects and where their bytes lie.

A key is an object's id; a store keeps to its own corner, so it never sees or deletes what other
installations, or other people, keep in the same bucket or folder.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

PUT_SECONDS = 3600
GET_SECONDS = 3600


FailureKind = Literal["denied", "clock_skew", "no_bucket", "unreachable", "failed"]


class StoreFailed(Exception):
    """The store did not do what it was asked. The text is for operators; no secret is in it.

    `code` is the store's own name for it, "" if it gave none.
    """

    def __init__(self, kind: FailureKind, cause: str, *, code: str = "") -> None:
        super().__init__(f"{kind}: {cause}")
        self.kind = kind
        self.code = code


class StoreFull(StoreFailed):
    """There is no room for this many bytes, or for what deleting takes on some file systems."""

    def __init__(self, cause: str) -> None:
        super().__init__("failed", cause)


class UploadGone(Exception):
    """The store knows no such upload in parts: it was finished, or given up."""


@dataclass(frozen=True)
class Stored:
    """A whole object that lies in the store. Its `etag` changes with its content."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Slot:
    """One part of an object: its number, from 1 on, and the bytes that it takes."""

    number: int
    offset: int
    size: int


@dataclass(frozen=True)
class Part:
    """A part that lies in the store."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True)
class Upload:
    """An upload in parts that was begun and neither finished nor given up."""

    key: str
    upload_id: str = field(repr=False)


class ObjectStore(Protocol):
    """Where bytes lie. Every method may raise StoreFailed; URLs are secrets."""

    async def prepare(self) -> None:
        """Do once what makes the store fit; log what it does not allow. StoreFailed: not yet."""
        ...

    async def check_room(self, size: int) -> None:
        """Raise StoreFull if it is known already that so many bytes won't fit."""
        ...

    async def put_url(self, key: str, size: int | None, seconds: int) -> str:
        """Return a URL that takes the object by PUT; exactly `size` bytes unless that is None."""
        ...

    async def get_url(self, key: str, seconds: int) -> str:
        """Return a URL that gives the object by GET, to any number of clients."""
        ...

    async def head(self, key: str) -> Stored | None:
        """Return what lies there, None for nothing."""
        ...

    def read(self, key: str) -> AsyncGenerator[bytes, None]:
        """Return the object's bytes as they come."""
        ...

    async def delete(self, key: str) -> None:
        """Delete the object, if it is there."""
        ...

    async def list(self) -> Sequence[Stored]:
        """Return everything in our corner."""
        ...

    async def begin_upload(self, key: str) -> str:
        """Begin an upload in parts; return its id."""
        ...

    async def part_url(self, key: str, upload_id: str, slot: Slot, seconds: int) -> str:
        """Return a URL that takes one part by PUT, as often as it is sent."""
        ...

    async def parts(self, key: str, upload_id: str) -> Sequence[Part]:
        """Return the parts that lie there whole, by number. Raises UploadGone."""
        ...

    async def finish_upload(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Make the object of its parts. Raises UploadGone."""
        ...

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Give an upload up, with its parts, if it is there."""
        ...

    async def uploads(self) -> Sequence[Upload]:
        """Return every upload in parts that is open in our corner."""
        ...
