"""Bulk transfers and copies of files, ours beside sshd's."""

import itertools
import os
import shlex
import shutil
import statistics
from functools import partial
from pathlib import Path

from .figures import medians, tell
from .sides import Side, timed

BULK = 512 * 1024 * 1024
GIB = 1024 * 1024 * 1024
COPY_ROUNDS = 5
FILES, FILE = 3000, 2000


def bulk(name: str, command: str, ours: Side, theirs: Side, stdin: Path | None = None) -> None:
    """Compare one transfer of BULK bytes over connections that are there already.

    Besides the time that passed: the CPU seconds per GiB of each server without its clients and
    commands, and those of the local cluster, which stands for Kubernetes and has no counterpart.
    """
    costs: dict[int, list[float]] = {id(ours): [], id(theirs): []}
    clusters: list[float] = []

    def once(side: Side) -> float:
        before, cluster = side.cpu(), side.cluster_cpu()
        seconds = timed([*side.argv, command], stdin)
        costs[id(side)].append((side.cpu() - before) * GIB / BULK)
        clusters.append((side.cluster_cpu() - cluster) * GIB / BULK)
        return seconds

    tell(name, "s", *medians(lambda: once(ours), lambda: once(theirs)))
    mine, other = (statistics.median(costs[id(side)]) for side in (ours, theirs))
    tell("", "CPU s/GiB", mine, other)
    print(f"{'  (the local cluster besides)':32} {statistics.median(clusters[::2]):8.2f} CPU s/GiB")


class Copies:
    """Copies of one file or tree up into a folder of each side, to a new name each time, and back.

    One run of each goes ahead uncounted.
    """

    def __init__(self, source: Path, ours: tuple[Side, str], theirs: tuple[Side, str]) -> None:
        self._source = source
        self._ours, self._theirs = ours, theirs
        self._numbers = itertools.count()

    def compare(self, name: str, program: str) -> None:
        for side, there in (self._ours, self._theirs):
            timed(self._command(program, side, str(self._source), f":{there}/{self._source.name}"))
        for way in ("up", "down"):
            copies = [partial(self._copy, program, way, *one) for one in (self._ours, self._theirs)]
            tell(f"{program} of {name} {way}", "s", *medians(copies[0], copies[1], COPY_ROUNDS))

    def _copy(self, program: str, way: str, side: Side, there: str) -> float:
        new = f"{self._source.name}-{next(self._numbers)}"
        if way == "up":
            return timed(self._command(program, side, str(self._source), f":{there}/{new}"))
        back = self._source.with_name(f"back-{new}")
        seconds = timed(self._command(program, side, f":{there}/{self._source.name}", str(back)))
        shutil.rmtree(back) if back.is_dir() else back.unlink()
        return seconds

    def _command(self, program: str, side: Side, source: str, target: str) -> list[str]:
        host = side.argv[-1]
        places = [f"{host}{one}" if one.startswith(":") else one for one in (source, target)]
        if program == "rsync":
            slash = "/" if Path(self._source).is_dir() else ""
            shell = shlex.join(side.argv[:-1])
            return ["rsync", "-a", "-e", shell, places[0] + slash, places[1]]
        old = ["-O"] if program == "scp -O" else []
        return side.scp(*old, "-r", *places)


def make_small_files(top: Path) -> Path:
    for number in range(FILES):
        path = top / str(number % 30) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(FILE))
    return top
