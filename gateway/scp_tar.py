"""Tar archives for a tar in the pod to unpack, and what that tar complains about."""

import re
import tarfile
from collections.abc import Callable

from gateway.scp_records import Times

BLOCK = 512
# What the pod copies with one process; small files travel together up to this.
CHUNK = 256 * 1024
DD_BLOCK = 65536

_COMPLAINT = re.compile(rb"tar: (.*?): (?:Warning: )?(?:Cannot [\w ]+: )?([^:]+)", re.DOTALL)
_REASONS = {
    b"socket ignored": b"not a regular file",
    b"File removed before we read it": b"No such file or directory",
}
_IDLE = (
    b"file changed as we read it",  # nothing scp would say
    b"Exiting with failure status due to previous errors",
    b"time stamp",
)


def complaint(line: bytes) -> tuple[bytes, bytes] | None:
    """Read a line that GNU tar wrote to stderr: the name and the reason; None for idle talk."""
    match = _COMPLAINT.fullmatch(line)
    if match is None or any(words in line for words in _IDLE):
        return None
    name, reason = match.groups()
    if reason.startswith(b"File shrank by"):
        reason = b"file shrank while it was read"
    return name, _REASONS.get(reason, reason)


def padding(size: int) -> int:
    """Return how many bytes fill up a content of `size` bytes to whole blocks."""
    return -size % BLOCK


class Packer:
    """Packs an archive into counted chunks (see `chunks` in scp-receive.sh), given to `send`.

    With `accessed` it holds the times of the last access, too.
    """

    def __init__(self, send: Callable[[bytes], None], *, accessed: bool = False) -> None:
        self._send = send
        self._accessed = accessed
        self._pending = bytearray()
        self._padding = 0
        self._streams = False

    def folder(self, name: bytes, mode: int, times: Times) -> None:
        """Add a folder."""
        self._header(name, tarfile.DIRTYPE, mode, 0, times)
        self._flush_if_full()

    def file(self, name: bytes, mode: int, size: int, times: Times) -> None:
        """Add a file, whose `content` comes next."""
        self._header(name, tarfile.REGTYPE, mode, size, times)
        self._padding = padding(size)
        self._streams = len(self._pending) + size > CHUNK
        if self._streams:
            self._flush()
            self._announce(size + self._padding)

    def interrupt(self) -> None:
        """Let the pod write the next file, whose `content` comes next, besides the archive."""
        self._flush()
        self._padding, self._streams = 0, True

    def content(self, data: bytes) -> None:
        """Add the next bytes of the file."""
        if self._streams:
            self._send(data)
        else:
            self._pending += data

    def file_ended(self) -> None:
        """Fill up the file's last block."""
        self.content(bytes(self._padding))
        self._streams = False
        self._flush_if_full()

    def end(self) -> None:
        """End the archive."""
        self._pending += bytes(2 * BLOCK)
        self._flush()
        self._send(b".\n")

    def _header(self, name: bytes, kind: bytes, mode: int, size: int, times: Times) -> None:
        if self._accessed:
            self._pending += _accessed(times.atime)
        self._pending += _header(name, kind, mode, size, times.mtime)

    def _flush_if_full(self) -> None:
        if len(self._pending) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._announce(len(self._pending))
            self._send(bytes(self._pending))
            self._pending.clear()

    def _announce(self, size: int) -> None:
        self._send(b"%d %d\n" % divmod(size, DD_BLOCK))


def _accessed(atime: int) -> bytes:
    """Spell what tar takes the next file's time of the last access from (POSIX, pax)."""
    rest = b" atime=%d\n" % atime
    length = len(rest) + 2  # the length counts itself: two digits
    record = b"%d%s" % (length, rest)
    header = _header(b"atime", tarfile.XHDTYPE, 0, length, 0)
    return header + record.ljust(BLOCK, b"\0")


def _header(name: bytes, kind: bytes, mode: int, size: int, mtime: int) -> bytes:
    info = tarfile.TarInfo(name.decode(errors="surrogateescape"))
    info.type, info.mode, info.size, info.mtime = kind, mode, size, mtime
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
