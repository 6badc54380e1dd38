"""How much a pod has written, measured so that nothing the pod does can lead us astray.

Every step is relative to a descriptor, links are never followed, and the way back up is taken
only if it leads where we came from: the pod may move folders about while we look.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = 512
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class _Sweep:
    """One look: what was counted so far, and when to stop."""

    enough: int
    stopped: Callable[[], bool]
    bytes: int = 0
    linked: set[int] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        return self.bytes > self.enough or self.stopped()


def usage(folder: Path, enough: int, stopped: Callable[[], bool] = lambda: False) -> int:
    """Return the bytes that lie below `folder`, or any number above `enough` as soon as it is more.

    Blocking; ends early when `stopped` says so. A file of several names counts once. What we may
    not read (a folder of mode 000, when we are not root) or what moves away meanwhile is left out.
    """
    sweep = _Sweep(enough, stopped)
    try:
        here = os.open(folder, _FLAGS)
    except OSError:
        return 0
    above: list[tuple[int, list[str]]] = []  # (inode, folders still to see) of each level
    inside = _list(here, sweep)
    try:
        while not sweep.is_over:
            if inside:
                try:
                    below = os.open(inside.pop(), _FLAGS, dir_fd=here)
                except OSError:
                    continue
                above.append((os.fstat(here).st_ino, inside))
                here = _exchange(here, below)
                inside = _list(here, sweep)
            elif above:
                inode, inside = above.pop()
                try:
                    here = _exchange(here, os.open("..", _FLAGS, dir_fd=here))
                except OSError:
                    break  # closed to us while we looked, or no descriptor is left
                if os.fstat(here).st_ino != inode:
                    break  # moved while we looked: the next sweep will see it where it is now
            else:
                break
    finally:
        os.close(here)
    return sweep.bytes


def _exchange(old: int, new: int) -> int:
    os.close(old)
    return new


def _list(here: int, sweep: _Sweep) -> list[str]:
    """Count what lies in a folder; return the names of the folders in it."""
    folders = []
    try:
        names = os.scandir(here)
    except OSError:
        return []
    with names:
        for entry in names:
            if sweep.is_over:
                break
            try:
                found = os.lstat(entry.name, dir_fd=here)
            except OSError:
                continue
            if stat.S_ISDIR(found.st_mode):
                folders.append(entry.name)
            elif found.st_nlink > 1:
                if found.st_ino in sweep.linked:
                    continue
                sweep.linked.add(found.st_ino)
            sweep.bytes += found.st_blocks * _BLOCK
    return folders
