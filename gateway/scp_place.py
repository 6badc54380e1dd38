"""Where the pod's side of an upload (scp-receive.sh) stands, and the words it hears and says."""

import re
from dataclasses import dataclass

from gateway.scp_records import Times

# Without -p nobody gets a setuid program.
_SPECIAL = 0o7000
# scp-receive.sh cuts a listing here.
MAX_LISTING = 1024 * 1024
# What is read at once, in some milliseconds.
_MOST_LISTED = 20_000
_LISTED = re.compile(rb"([fdl])([0-7]{1,4}) (.+)", re.DOTALL)

# What is already in a folder, by path: `f` or `d`, and the mode.
Known = dict[bytes, tuple[bytes, int]]


@dataclass(frozen=True)
class Place:
    """Where the pod's side stands: the target, what it is, the umask, and whether tar is GNU's."""

    target: bytes
    kind: bytes
    umask: int
    packs: bool

    @classmethod
    def read(cls, line: bytes) -> "Place":
        """Read the first line of scp-receive.sh. Raises ValueError."""
        _, kind, umask, tar, target = line.split(b" ", 4)
        return cls(target, kind, int(umask, 8), tar == b"gnu")

    def masked(self, mode: int, *, preserve: bool) -> int:
        """Return the mode that something new gets: with -p the client's own."""
        return mode if preserve else mode & ~self.umask & ~_SPECIAL

    def path(self, below: bytes) -> bytes:
        """Return a path below the target as scp spells it."""
        if not below:
            return self.target
        return (b"" if self.target == b"/" else self.target) + b"/" + below


def mode_word(mode: int | None) -> bytes:
    """Spell a mode for chmod; None leaves it as it is."""
    # Five digits: with fewer GNU chmod keeps a folder's setgid bit.
    return b"-" if mode is None else b"%05o" % mode


def times_words(times: Times | None) -> bytes:
    """Spell times for touch; None leaves them as they are."""
    return b"%d %d" % (times.mtime, times.atime) if times else b"- -"


def read_listing(listing: bytes, *, preserve: bool) -> Known | None:
    """Read what `list` in scp-receive.sh said; None if it isn't all, or not all files and folders.

    tar goes through links to folders, too, but doesn't set their times.
    """
    if len(listing) >= MAX_LISTING or listing.count(b"\0") > _MOST_LISTED:
        return None
    known = {}
    for record in filter(None, listing.split(b"\0")):
        match = _LISTED.fullmatch(record)
        if match is None or (preserve and match[1] == b"l"):
            return None
        known[match[3]] = match[1].replace(b"l", b"d"), int(match[2], 8)
    return known
