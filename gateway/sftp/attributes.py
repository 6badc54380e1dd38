"""What SFTP says about a file: its attributes on the wire, and the line that `ls -l` shows."""

import stat
import struct
import time
from dataclasses import dataclass

from gateway.sftp.fields import Fields, string

_SIZE, _OWNER, _MODE, _TIMES, _EXTENDED = 1, 2, 4, 8, 0x80000000
_UINT32 = 0xFFFFFFFF
_UINT64 = 0xFFFFFFFFFFFFFFFF
_HALF_A_YEAR = 182 * 86400  # past it, `ls -l` shows the year for the time of day
# Some filesystems keep 64 bits of seconds, and anybody can set them all.
_YEAR_1, _YEAR_9999 = -62_135_596_800, 253_402_300_799


@dataclass(frozen=True)
class Attributes:
    """A file's attributes; None is one that is not given. `mode` has the type bits when we say it.

    `owner` is (uid, gid), `times` is (atime, mtime) in seconds since 1970.
    """

    size: int | None = None
    owner: tuple[int, int] | None = None
    mode: int | None = None
    times: tuple[int, int] | None = None

    def encode(self) -> bytes:
        """Write them, each clamped to its field."""
        flags, body = 0, b""
        if self.size is not None:
            flags |= _SIZE
            body += struct.pack(">Q", min(max(self.size, 0), _UINT64))
        for flag, pair in ((_OWNER, self.owner), (_MODE, self.mode), (_TIMES, self.times)):
            if pair is not None:
                flags |= flag
                values = pair if isinstance(pair, tuple) else (pair,)
                body += b"".join(struct.pack(">I", min(max(n, 0), _UINT32)) for n in values)
        return struct.pack(">I", flags) + body


@dataclass(frozen=True)
class Entry:
    """One name in a folder. `links` counts its hard links; user and group are names or numbers."""

    name: bytes
    attributes: Attributes
    links: bytes = b"1"
    user: bytes = b""
    group: bytes = b""

    def encode(self, now: float) -> bytes:
        """Write the name, the line that `ls -l` shows, and the attributes."""
        return string(self.name) + string(self._line(now)) + self.attributes.encode()

    def bare(self) -> bytes:
        """Write the name alone, for READLINK and REALPATH."""
        return string(self.name) * 2 + Attributes().encode()

    def _line(self, now: float) -> bytes:
        about = self.attributes
        mode, size, when = about.mode or 0, about.size or 0, (about.times or (0, 0))[1]
        recent = now - _HALF_A_YEAR < when <= now
        when = min(max(when, _YEAR_1), _YEAR_9999)
        shown = time.strftime("%b %e %H:%M" if recent else "%b %e  %Y", time.gmtime(when))
        kind = stat.filemode(mode).encode()
        words = (kind, self.links, self.user, self.group, size, shown.encode(), self.name)
        return b"%s %3s %-8s %-8s %8d %s %s" % words


def read(fields: Fields) -> Attributes:
    """Read attributes. Raises Malformed. Extended ones are read and left out."""
    flags = fields.uint32()
    given = Attributes(
        size=fields.uint64() if flags & _SIZE else None,
        owner=(fields.uint32(), fields.uint32()) if flags & _OWNER else None,
        mode=fields.uint32() if flags & _MODE else None,
        times=(fields.uint32(), fields.uint32()) if flags & _TIMES else None,
    )
    if flags & _EXTENDED:
        # Each pair is 8 bytes at least, so a count that lies ends at the packet's end.
        for _ in range(fields.uint32()):
            fields.string()
            fields.string()
    return given
