"""Limits of memory and CPU by cgroup, version 1 or 2, where we may make one.

Each container has a group below one of this process's, which is named after its pid and start,
so that whoever starts later can tell the leftovers of a cluster that was killed.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_PREFIX = "kgpud-local-"
_PERIOD_MICROSECONDS = 100_000
_LEAST_QUOTA = 1_000
# The helper of a pod stands under its limits too, and is not the user's.
HELPER_BYTES = 8 << 20
_REMOVE_WITHIN_SECONDS = 10.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Layout:
    """Where the groups of this host are: the unified tree, or one folder for each controller."""

    version: int
    memory: Path
    cpu: Path | None

    @property
    def folders(self) -> list[Path]:
        """The distinct trees."""
        return [self.memory] if self.cpu in (None, self.memory) else [self.memory, Path(self.cpu)]


@dataclass(frozen=True)
class Limits:
    """What one container may use; None is no limit."""

    memory_bytes: int | None = None
    cpu_thousandths: int | None = None


def find_layout(mountinfo: str) -> Layout | None:
    """Return where the memory and cpu controllers are mounted, from /proc/self/mountinfo's text.

    The first version's memory controller wins over a unified tree beside it, which then lacks it.
    """
    unified: Path | None = None
    controllers: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        before, _dash, after = line.partition(" - ")
        where, kind, options = Path(before.split()[4]), after.split()[0], after.split()[-1]
        if kind == "cgroup2":
            unified = where
        elif kind == "cgroup":
            controllers |= dict.fromkeys(options.split(","), where)
    if memory := controllers.get("memory"):
        return Layout(1, memory, controllers.get("cpu"))
    return None if unified is None else Layout(2, unified, unified)


def settings(layout: Layout, limits: Limits) -> list[tuple[Path, str, bool]]:
    """Return what to write: (file's path below a tree's group, text, whether it must succeed)."""
    wanted: list[tuple[Path, str, bool]] = []
    memory = None if limits.memory_bytes is None else str(limits.memory_bytes + HELPER_BYTES)
    quota = None
    if limits.cpu_thousandths:
        share = limits.cpu_thousandths * _PERIOD_MICROSECONDS // 1000
        quota = str(max(share, _LEAST_QUOTA))
    if layout.version == 1:
        if memory:
            wanted += [(layout.memory / "memory.limit_in_bytes", memory, True)]
            wanted += [(layout.memory / "memory.memsw.limit_in_bytes", memory, False)]
        if quota and layout.cpu:
            wanted += [(layout.cpu / "cpu.cfs_quota_us", quota, False)]
        return wanted
    if memory:
        wanted += [(layout.memory / "memory.max", memory, True)]
        wanted += [(layout.memory / "memory.swap.max", "0", False)]
    if quota:
        wanted += [(layout.memory / "cpu.max", f"{quota} {_PERIOD_MICROSECONDS}", False)]
    return wanted


def oom_kills(text: str) -> int:
    """Return the count in memory.oom_control (version 1) or memory.events (version 2)."""
    for line in text.splitlines():
        name, _space, number = line.partition(" ")
        if name == "oom_kill":
            return int(number)
    return 0


class Group:
    """The cgroup of one run of a container. All methods block a little."""

    def __init__(self, layout: Layout, name: str, limits: Limits) -> None:
        self._layout = layout
        self._folders = [tree / name for tree in layout.folders]
        try:
            for folder in self._folders:
                folder.mkdir()
            for path, text, must in settings(layout, limits):
                target = path.parent / name / path.name
                with contextlib.nullcontext() if must else contextlib.suppress(OSError):
                    target.write_text(text)
        except BaseException:
            self.remove()
            raise

    def enter(self, pid: int) -> None:
        """Put a process, and all that it will start, in the group."""
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed for want of memory."""
        name = "memory.oom_control" if self._layout.version == 1 else "memory.events"
        return oom_kills((self._folders[0] / name).read_text())

    def remove(self) -> None:
        """Take the group away; its processes must have ended."""
        for folder in self._folders:
            _remove(folder)


class Groups:
    """Makes groups below this process's own, which `close` takes away."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._own = f"{_PREFIX}{os.getpid()}-{_start_of(os.getpid())}"

    def open(self) -> None:
        """Make this process's own group. OSError when the host does not let us."""
        try:
            for tree in self._layout.folders:
                (tree / self._own).mkdir()
            if self._layout.version == 2:  # noqa: PLR2004
                for group in (self._layout.memory, self._layout.memory / self._own):
                    (group / "cgroup.subtree_control").write_text("+memory +cpu")
            probe = self.make("probe", Limits(memory_bytes=1 << 30, cpu_thousandths=1000))
            probe.oom_kills()
            probe.remove()
        except OSError:
            self.close()
            raise

    def make(self, name: str, limits: Limits) -> Group:
        """Make the group of one container's run; OSError when a limit can't be set."""
        return Group(self._layout, f"{self._own}/{name}", limits)

    def close(self) -> None:
        """Take this process's own group away."""
        for tree in self._layout.folders:
            _remove_with_children(tree / self._own)


@contextlib.contextmanager
def held() -> Iterator[Groups | str]:
    """Hold the groups that this process may make, or say why it can't limit memory by them."""
    groups = _find()
    try:
        yield groups
    finally:
        if isinstance(groups, Groups):
            groups.close()


def remove_stale() -> None:
    """Take away what killed clusters have left, once its last processes have ended. Blocking."""
    layout = find_layout(_MOUNTS.read_text()) if os.geteuid() == 0 else None
    for folder in [] if layout is None else list(_stale(layout.folders)):
        _remove_with_children(folder)


def _find() -> Groups | str:
    if os.geteuid() != 0:
        return "not root"
    layout = find_layout(_MOUNTS.read_text())
    if layout is None:
        return "no cgroup file system is mounted"
    groups = Groups(layout)
    try:
        groups.open()
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return groups


def _stale(trees: Sequence[Path]) -> Iterator[Path]:
    for tree in trees:
        for folder in tree.glob(f"{_PREFIX}*"):
            pid, _dash, start = folder.name.removeprefix(_PREFIX).partition("-")
            if not pid.isdecimal() or _start_of(int(pid)) != start:
                yield folder


def _start_of(pid: int) -> str:
    """Return when a process started, in ticks since boot; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _remove_with_children(folder: Path) -> None:
    """Remove a group and those in it; what is still in use stays for whoever starts next."""
    with contextlib.suppress(OSError):
        for child in [one for one in folder.iterdir() if one.is_dir()]:
            _remove(child)
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a group; wait a little for processes that are just ending."""
    deadline = time.monotonic() + _REMOVE_WITHIN_SECONDS
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return
