"""Folders that a pod could write to: making them reachable for its uid, and taking them away.

Nothing here ever follows a link that a pod made.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import secrets
import signal
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from kgpud.localcluster.errors import StartError

log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")

_ELSEWHERE = Path("/var/tmp")  # noqa: S108  (what is found there is checked and locked)
_PREFIX, _LEFT = "kgpud-pods-", "left-"
_TRIES, _AGAIN_SECONDS = 20, 0.01
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def pods_folder(state: Path) -> Iterator[Path]:
    """Hold a folder for pods, and take it away at the end: `state/pods` if that will do.

    As root a pod has a host uid of its own; where `state` is closed to others (a home, a
    temporary folder of mode 0700) the folder lies in /var/tmp under a name made from `state`.
    It is locked as long as it is held. What an earlier cluster left in it is for
    `remove_leftovers`. Raises StartError when somebody else has that name, or there is no room.
    """
    folder = state / "pods"
    is_root = os.geteuid() == 0
    if is_root and not all(_is_open(parent) for parent in (state, *state.parents)):
        digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
        folder = _ELSEWHERE / f"{_PREFIX}{digest}"
    try:
        lock = _hold(folder, 0o711 if is_root else 0o700)
        _set_aside(folder)
    except OSError as error:
        raise StartError(f"--state {state}: {error}") from None
    try:
        yield folder
    finally:
        try:
            remove_tree(folder)
        except OSError as error:
            log.warning("what is left in %s goes at the next start: %s", folder, error)
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
                remove_tree(folder)
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


def _set_aside(folder: Path) -> None:
    """Give what an earlier cluster left here names that nothing new will have."""
    run = secrets.token_hex(4)
    for number, child in enumerate(list(folder.iterdir())):
        child.rename(folder / f"{_LEFT}{run}-{number}")


def remove_leftovers(folder: Path) -> None:
    """Remove what lay in a folder when `pods_folder` took it. Blocking, maybe for minutes."""
    for child in list(folder.glob(f"{_LEFT}*")):
        with contextlib.suppress(OSError):  # then it is for the next start
            remove_tree(child)


def remove_tree(path: Path) -> None:
    """Remove `path` and all below it, whatever modes, links and depth it has. Blocking.

    Missing is fine; what can't be removed raises OSError. It has two descriptors at most, however
    deep it is, and goes back up only to where it came from: no rename leads it astray.
    """
    here = os.open(path.parent, _FLAGS & ~os.O_NOFOLLOW)  # ours, whatever leads there
    try:
        # Of each level, what it is and what of it is still there.
        levels = [(os.fstat(here).st_ino, _left_of(here, [path.name]))]
        while levels[0][1]:
            _inode, inside = levels[-1]
            if inside:
                here = _exchange(here, _opened(here, inside[-1]))
                with os.scandir(here) as found:
                    left = _left_of(here, (entry.name for entry in found))
                levels.append((os.fstat(here).st_ino, left))
            else:
                levels.pop()
                here = _exchange(here, os.open("..", _FLAGS, dir_fd=here))
                inode, inside = levels[-1]
                if os.fstat(here).st_ino != inode:
                    raise OSError(errno.ESTALE, "moved while it was being removed", str(path))
                os.rmdir(inside.pop(), dir_fd=here)
    finally:
        os.close(here)


def _left_of(here: int, names: Iterable[str]) -> list[str]:
    """Remove files, links and empty folders; return the folders that have something in them."""
    return [name for name in names if not _removed(here, name)]


def _removed(here: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=here)
    except FileNotFoundError:
        return True
    except IsADirectoryError:
        try:
            os.rmdir(name, dir_fd=here)  # busy is what something is mounted on: we stay out
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            return False
    return True


def _opened(here: int, name: str) -> int:
    """Open a folder below `here`, whatever its mode is: it gets one that lets us remove it all."""
    found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    try:
        path = Path(f"/proc/self/fd/{found}")  # itself: its name may be a link's by now
        path.chmod(0o700)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(found)


def _exchange(old: int, new: int) -> int:
    os.close(old)
    return new


async def in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run blocking work in a thread and, even when cancelled, return only after it."""
    done = asyncio.get_running_loop().run_in_executor(None, lambda: work(*args, **kwargs))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        raise
