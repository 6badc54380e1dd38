"""The lines of the SCP protocol, as OpenSSH's scp.c writes and reads them."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

OK = b"\0"
MAX_LINE = 2047
# What a conversation works on in one go, so that others have their turn: about a millisecond.
STEPS = 64
_MAX_OFFSET = 2**63 - 1
_MODE_END = 5
_TIMES = re.compile(rb"T(\d+) (\d{1,6}) (\d+) (\d{1,6})")


class ProtocolError(Exception):
    """The other side doesn't speak SCP. The text is what scp.c says then."""


class NameRefused(Exception):
    """A name that would lead out of the target."""

    def __init__(self, name: bytes) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Times:
    """Whole seconds since 1970."""

    mtime: int
    atime: int


@dataclass(frozen=True)
class Entry:
    """A file or a folder that is about to be sent. `mode` has the twelve bits of chmod."""

    folder: bool
    mode: int
    size: int
    name: bytes


@dataclass
class Outbox:
    """What a conversation wants said, taken away by `Outbox.take`."""

    client: list[bytes] = field(default_factory=list)
    stderr: list[bytes] = field(default_factory=list)
    pod: list[bytes] = field(default_factory=list)

    def send(self, data: bytes) -> None:
        """Put in bytes for the pod."""
        self.pod.append(data)

    def take(self) -> "Outbox":
        """Return what is in it, and empty it."""
        taken = Outbox(self.client, self.stderr, self.pod)
        self.client, self.stderr, self.pod = [], [], []
        return taken


def whole_slice(step: Callable[[], bool]) -> bool:
    """Take steps until one says False; return whether none did, so that there may be more."""
    return all(step() for _ in range(STEPS))


def warning(text: bytes) -> bytes:
    """Spell an error that doesn't end the conversation (it does where the reader decides so)."""
    return b"\x01scp: " + text[:MAX_LINE].replace(b"\n", b"\\^J")[: MAX_LINE - 16] + b"\n"


def times_line(times: Times) -> bytes:
    """Spell a T record. Times before 1970 have no spelling: scp sends 0 for them."""
    return b"T%d 0 %d 0\n" % (max(times.mtime, 0), max(times.atime, 0))


def entry_line(entry: Entry) -> bytes:
    """Spell a C or D record."""
    letter, size = (b"D", 0) if entry.folder else (b"C", entry.size)
    return b"%s%04o %d %s\n" % (letter, entry.mode, size, visible(entry.name))


def parse(line: bytes) -> Entry | Times:
    """Read a C, D or T record, without its newline. Raises ProtocolError or NameRefused."""
    if line[:1] == b"T":
        return _parse_times(line)
    if line[:1] not in {b"C", b"D"}:
        raise ProtocolError("expected control record")
    if not re.fullmatch(rb"[0-7]{4}", line[1:_MODE_END]):
        raise ProtocolError("bad mode")
    if line[_MODE_END : _MODE_END + 1] != b" ":
        raise ProtocolError("mode not delimited")
    size, blank, name = line[_MODE_END + 1 :].partition(b" ")
    if not re.match(rb"\d", size):
        raise ProtocolError("size not present")
    if not size.isdigit() or not blank:
        raise ProtocolError("size not delimited")
    if int(size) > _MAX_OFFSET:
        raise ProtocolError("size out of range")
    if name in {b"", b".", b".."} or b"/" in name or b"\0" in name:
        raise NameRefused(name)
    return Entry(line[:1] == b"D", int(line[1:_MODE_END], 8), int(size), name)


def _parse_times(line: bytes) -> Times:
    match = _TIMES.fullmatch(line)
    if match is None:
        raise ProtocolError("mtime.sec not present" if line[1:2] < b"0" else "times not delimited")
    mtime, atime = int(match[1]), int(match[3])
    return Times(min(mtime, _MAX_OFFSET), min(atime, _MAX_OFFSET))


def visible(name: bytes) -> bytes:
    r"""Spell a name that has a newline as vis(3) does for scp: ``\^J``. Others stay as they are."""
    return b"".join(_visible[byte] for byte in name) if b"\n" in name else name


def _spell(byte: int) -> bytes:
    low = byte & 0x7F
    if byte == ord("\\"):
        return b"\\\\"
    if byte == ord("\t") or (byte == low and 0x20 <= byte < 0x7F):  # noqa: PLR2004 - ASCII
        return bytes([byte])
    if low == 0x20:  # noqa: PLR2004 - a space with the high bit
        return b"\\%03o" % byte
    meta = b"M" if byte != low else b""
    if low < 0x20 or low == 0x7F:  # noqa: PLR2004 - control characters
        return b"\\" + meta + b"^" + (b"?" if low == 0x7F else bytes([low + 0x40]))  # noqa: PLR2004
    return b"\\" + meta + b"-" + bytes([low])


_visible = [_spell(byte) for byte in range(256)]
