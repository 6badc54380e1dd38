"""Reads what the pod's side of a download (scp-send.sh) writes: records, tar archives, files."""

import math
import re
import tarfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from gateway import scp_tar
from gateway.scp_records import Entry, Times

_MAX_RECORD = 64 * 1024
_MAX_NAME = 64 * 1024
# GNU tar writes half a dozen lines.
_MOST_LINES, _MOST_DIGITS = 64, 9
# Of a file or folder, without its path. Linux has 255 bytes, some filesystems more.
_LONGEST_NAME = 1023
# What else a pax header may say of a file is nothing to scp.
_HEARD = (b"path", b"size", b"mtime", b"atime")
_MODE = 0o7777
_NOT_NUL = re.compile(rb"[^\0]")
_ABOUT_THE_NEXT = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
)


class Broken(Exception):
    """The pod's side wrote something else."""


@dataclass(frozen=True)
class Said:
    """An error that concerns no file that is being sent."""

    text: bytes


@dataclass(frozen=True)
class Opened:
    """A folder or a file begins."""

    entry: Entry
    times: Times


@dataclass(frozen=True)
class Content:
    """The next bytes of the file."""

    data: bytes


@dataclass(frozen=True)
class Closed:
    """The file has ended, with all its bytes or with zeros instead and an error."""

    error: bytes | None = None


@dataclass(frozen=True)
class Left:
    """The folder has ended."""


@dataclass(frozen=True)
class Header:
    """Something was said about the next file, and there may be more."""


Event = Said | Opened | Content | Closed | Left | Header


class Reader:
    """Turns the pod's bytes into events, no faster than they are asked for by `next`."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._steps = self._records()

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    @property
    def idle(self) -> bool:
        """Whether all that came has been read."""
        return self._at >= len(self._data)

    @property
    def between(self) -> bool:
        """Whether nothing is half read: the pod's side may end here."""
        return self.idle and self._resting

    def next(self) -> Event | None:
        """Return the next event, or None until more bytes come. Raises Broken."""
        return next(self._steps)

    # Each of these yields events, and None where it needs more bytes.

    def _records(self) -> Iterator[Event | None]:
        while True:
            self._resting = True
            record = yield from self._record()
            self._resting = False
            letter, rest = record[:1], record[1:]
            if letter == b"!":
                yield Said(rest)
            elif letter == b"f":
                yield from self._files()
            elif letter == b"t":
                yield from self._tree(rest)
            elif letter == b"E":
                yield Left()
            elif letter in {b"F", b"D"}:
                yield from self._plain(letter == b"D", rest)
            else:
                raise Broken

    def _plain(self, folder: bool, record: bytes) -> Iterator[Event | None]:
        words = record.split(b" ", 4)
        try:
            mode, size = int(words[0], 16) & _MODE, int(words[1])
            opened = Opened(
                Entry(folder, mode, size, words[4]), Times(int(words[2]), int(words[3]))
            )
        except (ValueError, IndexError):
            raise Broken from None
        if size < 0 or len(words[4]) > _LONGEST_NAME:
            raise Broken
        yield opened
        if not folder:
            yield from self._content(size)
            verdict = yield from self._until_nul()
            yield Closed(None if verdict == b"." else verdict[1:])

    def _files(self) -> Iterator[Event | None]:
        while member := (yield from self._member()):
            yield from self._file(member, _last(member.name))

    def _tree(self, top: bytes) -> Iterator[Event | None]:
        # The folder that the last member lies in, and how much of its path each one around it has.
        prefix, inside, folder = top.rstrip(b"/"), list[int](), b""
        while member := (yield from self._member()):
            path = member.name[len(prefix) :].lstrip(b"/")
            if not member.name.startswith(prefix) or (path and not inside):
                raise Broken
            while inside and inside[-1] and not path.startswith(folder[: inside[-1]] + b"/"):
                inside.pop()
                yield Left()
            name = _last(path) if path else _last(top)
            if member.kind == tarfile.DIRTYPE:
                folder = path
                inside.append(len(path))
                yield Opened(Entry(True, member.mode, 0, name), member.times)
            else:
                yield from self._file(member, name)
        for _ in inside:
            yield Left()

    def _file(self, member: "_Member", name: bytes) -> Iterator[Event | None]:
        if member.kind not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
            yield Said(member.name + b": not a regular file")
            return
        yield Opened(Entry(False, member.mode, member.size, name), member.times)
        yield from self._content(member.size)
        yield from self._exactly(scp_tar.padding(member.size))
        yield Closed()

    def _member(self) -> Generator[Event | None, None, "_Member | None"]:
        """Read headers up to the next member's, or the archive's end."""
        said: dict[bytes, bytes] = {}
        while True:
            block = yield from self._exactly(scp_tar.BLOCK)
            if not any(block):
                return None
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError:
                raise Broken from None
            if info.type not in _ABOUT_THE_NEXT:
                return _Member.made(info, said)
            if not 0 <= info.size <= _MAX_NAME:
                raise Broken
            body = yield from self._exactly(info.size + scp_tar.padding(info.size))
            if info.type == tarfile.GNUTYPE_LONGNAME:
                said[b"path"] = body[: info.size].rstrip(b"\0")
            elif info.type == tarfile.XHDTYPE:
                said |= _pax(body[: info.size])
            yield Header()

    def _content(self, size: int) -> Iterator[Event | None]:
        while size:
            piece = self._data[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield Content(piece) if piece else None

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self._data) - self._at < size:
            yield None
        self._at += size
        return self._data[self._at - size : self._at]

    def _record(self) -> Generator[None, None, bytes]:
        while not (begins := _NOT_NUL.search(self._data, self._at)):  # an archive ends with many
            self._at = len(self._data)
            yield None
        self._at = begins.start()
        return (yield from self._until_nul())

    def _until_nul(self) -> Generator[None, None, bytes]:
        while (end := self._data.find(b"\0", self._at)) < 0:
            if len(self._data) - self._at > _MAX_RECORD:
                raise Broken
            yield None
        record = self._data[self._at : end]
        self._at = end + 1
        return record


@dataclass(frozen=True)
class _Member:
    """One file of an archive."""

    name: bytes
    kind: bytes
    mode: int
    size: int
    times: Times

    @classmethod
    def made(cls, info: tarfile.TarInfo, said: dict[bytes, bytes]) -> "_Member":
        """Put a header together with what the ones before it said."""
        name = said.get(b"path") or info.name.encode(errors="surrogateescape")
        try:
            size = int(said.get(b"size", info.size))
            mtime = math.floor(float(said.get(b"mtime", info.mtime)))
            atime = math.floor(float(said.get(b"atime", mtime)))
        except (ValueError, OverflowError):
            raise Broken from None
        if size < 0:
            raise Broken
        bare = name.rstrip(b"/") if info.type == tarfile.DIRTYPE else name
        return cls(bare, info.type, info.mode & _MODE, size, Times(mtime, atime))


def _pax(body: bytes) -> dict[bytes, bytes]:
    """Read the lines of a pax header: length, blank, key=value, newline (POSIX, pax)."""
    said: dict[bytes, bytes] = {}
    at = 0
    for _ in range(_MOST_LINES):
        if at == len(body):
            return said
        digits, _, _ = body[at : at + _MOST_DIGITS].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        if not 0 < length <= len(body) - at:
            break
        key, _, value = body[at + len(digits) + 1 : at + length - 1].partition(b"=")
        if key in _HEARD:
            said[key] = value
        at += length
    raise Broken


def _last(path: bytes) -> bytes:
    name = path.rpartition(b"/")[2]
    if len(name) > _LONGEST_NAME:
        raise Broken
    return name
