"""Folders that a pod could write to: making them reachable for its uid, and taking them away.

Nothing here ever follows a link that a pod made.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import secrets
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from kgpud.localcluster.errors import StartError

_P = ParamSpec("_P")
_T = TypeVar("_T")

_ELSEWHERE = Path("/var/tmp")  # noqa: S108  (what is found there is checked and locked)
_PREFIX = "kgpud-pods-"
_TRIES, _AGAIN_SECONDS = 20, 0.01


@contextlib.contextmanager
def pods_folder(state: Path) -> Iterator[Path]:
    """Hold an empty folder for pods, and take it away at the end: `state/pods` if that will do.

    As root a pod has a host uid of its own; where `state` is closed to others (a home, a
    temporary folder of mode 0700) the folder lies in /var/tmp under a name made from `state`.
    It is locked as long as it is held. Raises StartError when somebody else has that name.
    """
    folder = state / "pods"
    is_root = os.geteuid() == 0
    if is_root and not all(_is_open(parent) for parent in (state, *state.parents)):
        digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
        folder = _ELSEWHERE / f"{_PREFIX}{digest}"
    lock = _hold(folder, 0o711 if is_root else 0o700)
    try:
        _empty(folder)
        yield folder
    finally:
        _empty(folder)
        folder.rmdir()
        os.close(lock)


def _hold(folder: Path, mode: int) -> int:
    """Make a folder unless it is there, and lock it; StartError when it can't be ours."""
    for _ in range(_TRIES):  # until it is locked, another cluster may take it for an orphan
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(mode=mode, exist_ok=True)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise StartError(f"{folder} exists and is not a folder of ours: remove it")
            folder.chmod(mode)
            if (lock := _locked(folder)) is not None:
                return lock
        time.sleep(_AGAIN_SECONDS)
    raise StartError(f"{folder} is held by another local cluster: end it")


def remove_orphans() -> None:
    """Remove the folders in /var/tmp whose clusters were killed and never came back. Blocking."""
    if os.geteuid() != 0:
        return
    for folder in _ELSEWHERE.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid != 0 or (lock := _locked(folder)) is None:
                continue
            try:
                _empty(folder)
                folder.rmdir()
            finally:
                os.close(lock)
    _end_strays()


def _end_strays() -> None:
    """Kill what still runs a program that was taken away with a killed cluster's folder.

    It is bwrap's own child, left behind where a kill met both between its fork and its request to
    die with its parent.
    """
    for program in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):
            path = str(program.readlink())
            if path.startswith(f"{_ELSEWHERE}/{_PREFIX}") and path.endswith(" (deleted)"):
                os.kill(int(program.parent.name), signal.SIGKILL)


def _is_open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _locked(folder: Path) -> int | None:
    """Lock a folder against others; None when one of them has it, or it is just going away."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.stat().st_ino == os.fstat(held).st_ino:
            return held
    except OSError:
        pass
    os.close(held)
    return None


def _empty(folder: Path) -> None:
    for child in list(folder.iterdir()):
        remove_tree(child)


def remove_tree(folder: Path) -> None:
    """Remove `folder` and all below it, whatever modes, links and depth it has.

    Sub-folders are first moved up beside their parent, so neither a path nor the number of
    open descriptors grows with depth. Missing is fine; a name that can't be removed raises.
    """
    if not folder.exists() or folder.is_symlink():
        with contextlib.suppress(FileNotFoundError):
            folder.unlink()
        return
    base = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        waiting = [folder.name]
        moved, run = 0, secrets.token_hex(4)  # an interrupted removal may have left such names
        while waiting:
            name = waiting.pop()
            os.chmod(name, 0o700, dir_fd=base)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            here = os.open(name, flags, dir_fd=base)
            try:
                for entry in os.listdir(here):  # noqa: PTH208  (of a descriptor)
                    if stat.S_ISDIR(os.lstat(entry, dir_fd=here).st_mode):
                        moved += 1
                        target = f"{folder.name}.gone-{run}-{moved}"
                        os.chmod(entry, 0o700, dir_fd=here)
                        os.rename(entry, target, src_dir_fd=here, dst_dir_fd=base)
                        waiting.append(target)
                    else:
                        os.unlink(entry, dir_fd=here)
            finally:
                os.close(here)
            os.rmdir(name, dir_fd=base)
    finally:
        os.close(base)


async def in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run blocking work in a thread and, even when cancelled, return only after it."""
    done = asyncio.get_running_loop().run_in_executor(None, lambda: work(*args, **kwargs))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        raise
