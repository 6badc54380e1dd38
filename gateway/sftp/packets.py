"""SFTP version 3 on the wire (draft-ietf-secsh-filexfer-02): requests in, answers out. No I/O."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

from gateway.sftp import attributes
from gateway.sftp.attributes import Attributes
from gateway.sftp.fields import Fields, Malformed, string

VERSION = 3
# What OpenSSH's sftp-server takes at most, and what it says of itself in its limits extension.
MAX_PACKET = 256 * 1024
MAX_DATA = MAX_PACKET - 1024
_LENGTH = 4


class Kind(IntEnum):
    """Packet types."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Status(IntEnum):
    """Status codes."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    OP_UNSUPPORTED = 8


class Flags(IntFlag):
    """Open flags."""

    READ = 1
    WRITE = 2
    APPEND = 4
    CREATE = 8
    TRUNCATE = 16
    EXCLUSIVE = 32


@dataclass(frozen=True)
class Request:
    """One request. Which fields mean something depends on `kind`, and `name` for an extension.

    `path` and `other` are raw bytes without NUL; `length` is a READ's.
    """

    kind: int
    id: int
    path: bytes = b""
    other: bytes = b""
    handle: bytes = b""
    name: bytes = b""
    flags: int = 0
    offset: int = 0
    length: int = 0
    data: bytes = b""
    attributes: Attributes = field(default_factory=Attributes)

    @property
    def by_handle(self) -> bool:
        """Whether it is about an open file, not a path."""
        return self.kind in {Kind.FSTAT, Kind.FSETSTAT} or self.name == FSTATVFS


class Splitter:
    """Cuts a stream into packets, however it is split. Holds what was fed and not yet taken."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def held(self) -> int:
        """How many bytes were not yet taken."""
        return len(self._held)

    def feed(self, data: bytes) -> None:
        """Take bytes of the stream."""
        self._held += data

    def take(self) -> bytes | None:
        """Return the next packet, its type byte first, or None until it is whole.

        Raises Malformed for a length that no packet has.
        """
        held = self._held
        if len(held) < _LENGTH:
            return None
        length = int.from_bytes(held[:_LENGTH], "big")
        if not 0 < length <= MAX_PACKET:
            raise Malformed(f"a packet of {length} bytes")
        if len(held) < _LENGTH + length:
            return None
        packet = bytes(memoryview(held)[_LENGTH : _LENGTH + length])
        del held[: _LENGTH + length]
        return packet


def parse(packet: bytes) -> Request:
    """Read a request. One of a kind that is not known has its `kind` and `id` alone.

    Raises Malformed. Like OpenSSH's server, it doesn't mind bytes after the last field.
    """
    fields = Fields(packet)
    kind, request_id = fields.byte(), fields.uint32()
    if kind == Kind.EXTENDED:
        return _extension(request_id, fields)
    return Request(kind, request_id, **_read(fields, _FIELDS.get(kind, ())))


def _extension(request_id: int, fields: Fields) -> Request:
    name = fields.string()
    given = _read(fields, EXTENSIONS[name].fields if name in EXTENSIONS else ())
    return Request(Kind.EXTENDED, request_id, name=name, **given)


def _read(fields: Fields, names: Iterable[str]) -> dict[str, Any]:
    return {name: _READERS[name](fields) for name in names}


_READERS: dict[str, Callable[[Fields], object]] = {
    "path": Fields.path,
    "other": Fields.path,
    "handle": Fields.string,
    "flags": Fields.uint32,
    "offset": Fields.uint64,
    "length": Fields.uint32,
    "data": Fields.string,
    "attributes": attributes.read,
}
_FIELDS: dict[int, tuple[str, ...]] = {
    Kind.OPEN: ("path", "flags", "attributes"),
    Kind.CLOSE: ("handle",),
    Kind.READ: ("handle", "offset", "length"),
    Kind.WRITE: ("handle", "offset", "data"),
    Kind.LSTAT: ("path",),
    Kind.FSTAT: ("handle",),
    Kind.SETSTAT: ("path", "attributes"),
    Kind.FSETSTAT: ("handle", "attributes"),
    Kind.OPENDIR: ("path",),
    Kind.READDIR: ("handle",),
    Kind.REMOVE: ("path",),
    Kind.MKDIR: ("path", "attributes"),
    Kind.RMDIR: ("path",),
    Kind.REALPATH: ("path",),
    Kind.STAT: ("path",),
    Kind.RENAME: ("path", "other"),
    Kind.READLINK: ("path",),
    # OpenSSH has target and link the other way round than the draft, and so has everybody.
    Kind.SYMLINK: ("path", "other"),
}


@dataclass(frozen=True)
class Extension:
    """An extension that VERSION announces (openssh-portable's PROTOCOL, section 4)."""

    version: bytes
    fields: tuple[str, ...]


POSIX_RENAME = b"posix-rename@openssh.com"
HARDLINK = b"hardlink@openssh.com"
FSYNC = b"fsync@openssh.com"
STATVFS = b"statvfs@openssh.com"
FSTATVFS = b"fstatvfs@openssh.com"
LIMITS = b"limits@openssh.com"

EXTENSIONS = {
    POSIX_RENAME: Extension(b"1", ("path", "other")),
    STATVFS: Extension(b"2", ("path",)),
    FSTATVFS: Extension(b"2", ("handle",)),
    HARDLINK: Extension(b"1", ("path", "other")),
    FSYNC: Extension(b"1", ("handle",)),
    LIMITS: Extension(b"1", ()),
}


def version() -> bytes:
    """Write the answer to INIT: the one version we speak, and the extensions."""
    body = b"".join(string(name) + string(each.version) for name, each in EXTENSIONS.items())
    return string(struct.pack(">BI", Kind.VERSION, VERSION) + body)


def status(request_id: int, code: Status, message: str = "") -> bytes:
    """Write a STATUS answer. Without a message it gets the code's own words."""
    text = (message or _WORDS[code]).encode(errors="replace")
    return _answer(Kind.STATUS, request_id, struct.pack(">I", code) + string(text) + string(b""))


def handle(request_id: int, name: bytes) -> bytes:
    """Write a HANDLE answer."""
    return _answer(Kind.HANDLE, request_id, string(name))


def data(request_id: int, content: bytes) -> bytes:
    """Write a DATA answer."""
    return _answer(Kind.DATA, request_id, string(content))


def names(request_id: int, entries: Iterable[bytes]) -> bytes:
    """Write a NAME answer of encoded entries."""
    given = list(entries)
    return _answer(Kind.NAME, request_id, struct.pack(">I", len(given)) + b"".join(given))


def attrs(request_id: int, about: Attributes) -> bytes:
    """Write an ATTRS answer."""
    return _answer(Kind.ATTRS, request_id, about.encode())


def numbers(request_id: int, values: Iterable[int]) -> bytes:
    """Write the answer to an extension that returns 64-bit numbers, each clamped to that."""
    body = b"".join(struct.pack(">Q", min(max(value, 0), 2**64 - 1)) for value in values)
    return _answer(Kind.EXTENDED_REPLY, request_id, body)


def _answer(kind: Kind, request_id: int, body: bytes) -> bytes:
    return string(struct.pack(">BI", kind, request_id) + body)


_WORDS = {
    Status.OK: "Success",
    Status.EOF: "End of file",
    Status.NO_SUCH_FILE: "No such file",
    Status.PERMISSION_DENIED: "Permission denied",
    Status.FAILURE: "Failure",
    Status.BAD_MESSAGE: "Bad message",
    Status.OP_UNSUPPORTED: "Operation unsupported",
}
