"""Folders that a pod could write to: making them reachable for its uid, and taking them away.

Nothing here ever follows a link that a pod made.
"""

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from kgpud.localcluster.errors import StartError

_P = ParamSpec("_P")
_T = TypeVar("_T")

_TRAVERSABLE = 0o001


def pods_folder(state: Path) -> Path:
    """Return (and make) the folder for pods: `state/pods` where the pods' uids can reach it.

    As root a pod has a host uid of its own; where `state` is closed to others (a home, a
    temporary folder of mode 0700) the folder lies in /var/tmp under a name made from `state`.
    Raises StartError when that name is taken by somebody else.
    """
    mine = state / "pods"
    if os.geteuid() != 0:
        mine.mkdir(mode=0o700, exist_ok=True)
        return mine
    if all(parent.stat().st_mode & _TRAVERSABLE for parent in (state, *state.parents)):
        folder = mine
    else:
        digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
        folder = Path("/var/tmp") / f"kgpud-pods-{digest}"  # noqa: S108  (checked right below)
    folder.mkdir(mode=0o711, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0:
        raise StartError(f"{folder} exists and is not a folder of root's: remove it")
    folder.chmod(0o711)
    return folder


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
        moved = 0
        while waiting:
            name = waiting.pop()
            os.chmod(name, 0o700, dir_fd=base)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            here = os.open(name, flags, dir_fd=base)
            try:
                for entry in os.listdir(here):  # noqa: PTH208  (of a descriptor)
                    if stat.S_ISDIR(os.lstat(entry, dir_fd=here).st_mode):
                        moved += 1
                        target = f"{folder.name}.gone-{moved}"
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
