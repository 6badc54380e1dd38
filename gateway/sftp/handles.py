"""What the client has open: files that a process in the pod holds, and folders listed already."""

from collections import deque
from dataclasses import dataclass, field

from gateway.sftp.packets import Flags

# Each open file is a small process in the pod; OpenSSH's limit follows RLIMIT_NOFILE.
MAX_HANDLES = 128
# What all folders that are open at once may take here, in bytes: some 250,000 names.
MAX_LISTED = 32 * 1024 * 1024
_RECORD = 64  # what a record costs besides its bytes: millions of ten must count, too


@dataclass
class File:
    """An open file, and the process that holds it.

    `late_mode` is set when the file is closed, where setting it earlier would lock us out.
    """

    holder: int
    flags: Flags
    late_mode: int | None = None


@dataclass
class Folder:
    """A folder's listing, as the agent's records that are not yet sent."""

    records: deque[bytes] = field(default_factory=deque)
    size: int = 0


class BadHandle(Exception):
    """A handle that is not open."""


class NotAllowed(Exception):
    """A handle that is open, but not for this."""


class Handles:
    """What is open, by the names that the client uses. Bounded in number and memory."""

    def __init__(self) -> None:
        self._open: dict[bytes, File | Folder] = {}
        self._next = 0
        self._reserved = 0
        self._listed = 0

    def reserve(self) -> bool:
        """Keep room for one that is being opened; False when there is none.

        `add` or `give_up` follows. Until then it has no name, which a client could guess.
        """
        if len(self._open) + self._reserved >= MAX_HANDLES:
            return False
        self._reserved += 1
        return True

    def give_up(self, folder: Folder | None = None) -> None:
        """Free the room, and what has been listed already."""
        self._reserved -= 1
        self._listed -= folder.size if folder else 0

    def add(self, opened: File | Folder) -> bytes:
        """Give what was opened its name."""
        self._reserved -= 1
        name = self._next.to_bytes(4, "big")
        self._next = (self._next + 1) % 2**32
        self._open[name] = opened
        return name

    def file(self, name: bytes, flag: Flags | None = None) -> File:
        """Return an open file. Raises BadHandle, and NotAllowed if opened without `flag`."""
        found = self._open.get(name)
        if not isinstance(found, File):
            raise BadHandle
        if flag and not found.flags & flag:
            raise NotAllowed
        return found

    def folder(self, name: bytes) -> Folder:
        """Return an open folder. Raises BadHandle."""
        found = self._open.get(name)
        if not isinstance(found, Folder):
            raise BadHandle
        return found

    def close(self, name: bytes) -> File | Folder:
        """Forget a name. Raises BadHandle."""
        found = self._open.pop(name, None)
        if found is None:
            raise BadHandle
        if isinstance(found, Folder):
            self._listed -= found.size
        return found

    def list(self, folder: Folder, record: bytes) -> bool:
        """Add a record to a folder; False when that is more than we keep."""
        size = len(record) + _RECORD
        folder.size += size
        self._listed += size
        if self._listed > MAX_LISTED:
            return False
        folder.records.append(record)
        return True
