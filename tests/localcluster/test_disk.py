"""What a pod has written is counted whatever it does, and nothing else is."""

import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kgpud.localcluster.disk import usage
from kgpud.localcluster.eviction import excess

_ALL = 1 << 62
_MEGABYTE = 1 << 20


def _fill(path: Path, size: int = _MEGABYTE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    os.sync()
    return path


def test_files_below_count_and_links_lead_nowhere(tmp_path: Path) -> None:
    _fill(tmp_path / "outside/big", 8 * _MEGABYTE)
    inside = tmp_path / "inside"
    first = _fill(inside / "a/b/c/first")
    (inside / "again").hardlink_to(first)
    (inside / "out").symlink_to(tmp_path / "outside")
    (inside / "a/out").symlink_to(tmp_path / "outside/big")
    (inside / "loop").symlink_to(inside)
    os.mkfifo(inside / "pipe")
    _fill(inside / "second", 2 * _MEGABYTE)
    assert 3 * _MEGABYTE <= usage(inside, _ALL) < 3.1 * _MEGABYTE
    assert usage(tmp_path / "missing", _ALL) == 0
    assert usage(inside / "out", _ALL) == 0


def test_depth_costs_no_descriptors(tmp_path: Path) -> None:
    where = os.open(tmp_path, os.O_RDONLY)
    for _level in range(2000):
        os.mkdir("d", dir_fd=where)
        below = os.open("d", os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = below
    leaf = os.open("leaf", os.O_WRONLY | os.O_CREAT, dir_fd=where)
    os.write(leaf, os.urandom(_MEGABYTE))
    os.fsync(leaf)
    os.close(leaf)
    before = len(os.listdir("/proc/self/fd"))
    assert usage(tmp_path, _ALL) >= _MEGABYTE
    assert len(os.listdir("/proc/self/fd")) == before
    for _level in range(2000):
        os.unlink("leaf", dir_fd=where) if _level == 0 else None
        above = os.open("..", os.O_RDONLY, dir_fd=where)
        os.rmdir("d", dir_fd=above)
        os.close(where)
        where = above
    os.close(where)


def test_it_ends_where_the_way_back_up_is_closed(tmp_path: Path) -> None:
    _fill(tmp_path / "below/file")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    looks = 0

    def stopped() -> bool:
        nonlocal looks
        looks += 1
        if looks == 4:  # the file in `below` has been counted
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        return False

    try:
        found = usage(tmp_path, _ALL, stopped)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert looks == 4
    assert found >= _MEGABYTE


def test_it_ends_as_soon_as_it_is_too_much_or_not_wanted(tmp_path: Path) -> None:
    for number in range(20):
        _fill(tmp_path / f"{number}/file")
    assert 5 * _MEGABYTE < usage(tmp_path, 5 * _MEGABYTE) < 7 * _MEGABYTE
    assert usage(tmp_path, _ALL, lambda: True) == 0


_LIMITED = {"resources": {"limits": {"ephemeral-storage": "10Mi"}}}


@pytest.mark.parametrize(
    ("volumes", "containers", "used", "said"),
    [
        ([], [{}], {"main": 99}, None),
        ([], [_LIMITED], {"main": 10}, None),
        (
            [],
            [_LIMITED],
            {"main": 11},
            "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ",
        ),
        (
            [{"name": "v", "emptyDir": {}}],
            [_LIMITED],
            {"main": 6, "v": 6},
            "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ",
        ),
        (
            [{"name": "v", "emptyDir": {"sizeLimit": "5Mi"}}],
            [_LIMITED],
            {"main": 11, "v": 6},
            'Usage of EmptyDir volume "v" exceeds the limit "5Mi". ',
        ),
        ([{"name": "v", "emptyDir": {"medium": "Memory"}}], [_LIMITED], {"v": 99, "main": 1}, None),
        (
            [],
            [_LIMITED, _LIMITED],
            {"main": 11, "c1": 1},
            'Container main exceeded its local ephemeral storage limit "10Mi". ',
        ),
    ],
)
def test_what_is_too_much(
    volumes: list[Any], containers: list[Any], used: Mapping[str, int], said: str | None
) -> None:
    named = [{"name": "main" if at == 0 else f"c{at}", **one} for at, one in enumerate(containers)]
    layers = {one["name"]: Path(one["name"]) for one in named}
    found = excess(
        {"volumes": volumes, "containers": named},
        Path("volumes"),
        layers,
        lambda folder, _enough: used.get(folder.name, 0) * _MEGABYTE,
    )
    assert found == said
