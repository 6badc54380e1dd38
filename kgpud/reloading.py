"""`kgpud reload` as its two sides see it: asking a daemon, and what it answers in its folder."""

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kgpud import statefolder

_ANSWER = "kgpud.reload"
# Longer than a handover may take until it is given up.
_ANSWER_SECONDS = 240.0
_LOOK_SECONDS = 0.05


class ReloadFailed(Exception):
    """The daemon was not reloaded and goes on as it was. The text says why."""


def answer(folder: Path, *, error: str | None = None, pid: int | None = None) -> None:
    """Write down how a reload went: why not, or which process serves now."""
    written = folder / f"{_ANSWER}.{os.getpid()}"
    written.write_text(json.dumps({"error": error, "pid": pid}) + "\n")
    written.replace(folder / _ANSWER)


def ask(folder: Path) -> int:
    """Have the daemon that runs on a folder reload; return the pid of the one that serves then.

    Whoever asks meanwhile is next: their daemon has read the configuration that they wrote.
    Raises ReloadFailed, OSError.
    """
    with _one_at_a_time(folder):
        return _ask(folder)


def _ask(folder: Path) -> int:
    pid = statefolder.owner(folder)
    before = _identity(folder)
    if pid is None:
        raise ReloadFailed(f"no kgpud runs on {folder}")
    try:
        os.kill(pid, signal.SIGUSR2)
    except PermissionError:
        why = f"kgpud (pid {pid}) is not yours to reload: run this as the daemon's user"
        raise ReloadFailed(why) from None
    deadline = time.monotonic() + _ANSWER_SECONDS
    while _identity(folder) == before:
        if statefolder.owner(folder) is None:
            raise ReloadFailed(f"kgpud (pid {pid}) ended meanwhile; see its log")
        if time.monotonic() > deadline:
            raise ReloadFailed(f"kgpud (pid {pid}) does not answer; see its log")
        time.sleep(_LOOK_SECONDS)
    return _read(folder)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait while another process asks."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ReloadFailed(f"no kgpud runs on {folder}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(folder: Path) -> int:
    told: dict[str, Any] = json.loads((folder / _ANSWER).read_text())
    if told["error"] is not None:
        raise ReloadFailed(told["error"])
    return int(told["pid"])


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        stat = (folder / _ANSWER).stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns
