"""What the client has open: files that a process in the pod holds, and folders listed already."""

from collections import deque
from dataclasses import dataclass, field

from gateway.sftp.packets import Flags

# Each open file is a small process in the pod; OpenSSH's limit follows RLIMIT_NOFILE.
MAX_HANDLES = 128
# What all folders that are open at once may take here, in bytes: some 300,000 names.
MAX_LISTED = 32 * 1024 * 1024


@dataclass
class File:
    """An open file; `holder` is 0 until it is open.

    `late_mode` is set when the file is closed, where setting it earlier would lock us out.
    """

    flags: Flags
    holder: int = 0
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
        self._listed = 0

    @property
    def full(self) -> bool:
        """Whether no more may be opened."""
        return len(self._open) >= MAX_HANDLES

    def add(self, opened: File | Folder) -> bytes:
        """Give it a name."""
        name = self._next.to_bytes(4, "big")
        self._next = (self._next + 1) % 2**32
        self._open[name] = opened
        return name

    def file(self, name: bytes, flag: Flags | None = None) -> File:
        """Return an open file. Raises BadHandle, and NotAllowed if opened without `flag`."""
        found = self._open.get(name)
        if not isinstance(found, File) or not found.holder:
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

    def drop(self, name: bytes) -> None:
        """Forget a name that nobody was told."""
        self._open.pop(name, None)

    def list(self, folder: Folder, record: bytes) -> bool:
        """Add a record to a folder that is open; False when that is more than we keep."""
        folder.size += len(record)
        self._listed += len(record)
        if self._listed > MAX_LISTED:
            return False
        folder.records.append(record)
        return True
