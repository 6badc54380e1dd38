"""The folder that holds all of a daemon's state, and the lock that keeps a second one out."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

DATABASE = "kgpud.sqlite3"
SECRET = "secret.key"  # noqa: S105 - a file's name
HOST_KEY = "ssh_host_ed25519_key"
_LOCK = "kgpud.lock"


def open_log(path: Path, flags: int) -> TextIO:
    """Open a log that only its owner may read, to write it a line at a time.

    `flags` are os.O_APPEND to go on with the last one, os.O_TRUNC to begin anew.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
    return os.fdopen(descriptor, "w", buffering=1)


class StateLocked(Exception):
    """Another daemon runs on this folder. The text says which."""


class Lock:
    """The folder's lock, held. It is the open file's (flock(2)): who inherits it shares it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor, to pass it on."""
        return self._descriptor

    def sign(self) -> None:
        """Write down that this process runs on the folder."""
        line = f"{os.getpid()}\n".encode()
        # In this order there is a whole first line at every moment.
        os.pwrite(self._descriptor, line, 0)
        os.ftruncate(self._descriptor, len(line))

    def close(self) -> None:
        """Let go of it; it stays held by those who share it. Closing it again does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


@contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """Make the folder (0700) if it is missing and hold it for this process.

    Raises StateLocked, and OSError if it can't be made or written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = Lock(os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateLocked(f"another kgpud (pid {_signed(lock)}) runs on {folder}") from None
        lock.sign()
        yield lock
    finally:
        lock.close()


def owner(folder: Path) -> int | None:
    """Return the pid of the daemon that runs on a folder, if any. Raises OSError."""
    try:
        lock = Lock(os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(_signed(lock) or 0) or None
    else:
        return None
    finally:
        lock.close()


def _signed(lock: Lock) -> str:
    return os.pread(lock.fileno(), 20, 0).decode(errors="replace").partition("\n")[0]
