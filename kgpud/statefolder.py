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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder (0700) if it is missing and hold it for this process.

    Raises StateLocked, and OSError if it can't be made or written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 20).decode(errors="replace").strip()
            raise StateLocked(f"another kgpud (pid {owner}) runs on {folder}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
