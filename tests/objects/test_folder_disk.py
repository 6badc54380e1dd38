"""A folder on a disk that is full, that goes away, that many work on at once."""

import asyncio
import errno
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kgpud.object_settings import Folder, Objects
from kgpud.objects.disk import Disk
from kgpud.objects.stores import StoreFailed
from tests.objects.raw import curl, drafts, half_a_put, root, until
from tests.objects.world import World, random_bytes, small, world

SETTINGS = small(Objects(folder=Folder(min_free_gb=0)))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, SETTINGS) as made:
        yield made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


async def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    settings = small(Objects(folder=Folder(path=small_disk, min_free_gb=0)))
    async with world(tmp_path, settings) as here:
        reply = await here.call("POST", body={"size_bytes": 20_000_000})
        assert (reply.status, reply.code) == (507, "object_store_full")
        made = await here.create()
        big = tmp_path / "big"
        big.write_bytes(random_bytes(6 << 20))
        # Somebody else fills it between the look and the write.
        made_too = await here.create()
        writer = await half_a_put(made_too["put_url"], 6 << 20, 1 << 20)
        await until(lambda: bool(drafts(here)))
        (small_disk / "other").write_bytes(bytes(10 << 20))
        said = await curl("--upload-file", str(big), made["put_url"])
        assert b"507" in said
        assert b"object_store_full" in said
        writer.write(bytes(5 << 20))
        await writer.drain()
        await until(lambda: not drafts(here))
        writer.close()
        (small_disk / "other").unlink()
        assert await here.put(made["put_url"], big.read_bytes()) == 200
        assert (await here.get(made)).body["state"] == "ready"


async def test_the_floor_is_kept_free(small_disk: Path, tmp_path: Path) -> None:
    settings = small(Objects(folder=Folder(path=small_disk, min_free_gb=0.01)))
    async with world(tmp_path, settings) as here:
        made = await here.create()
        assert await here.put(made["put_url"], bytes(1_000_000)) == 200
        # Two that would fit alone: what the first is still to write is counted.
        one, two = await here.create(), await here.create()
        writer = await half_a_put(one["put_url"], 1_000_000, 1000)
        await until(lambda: bool(drafts(here)))
        assert await here.put(two["put_url"], bytes(600_000)) == 507
        writer.close()
        await until(lambda: not drafts(here))
        assert await here.put(two["put_url"], bytes(600_000)) == 200
        # There is room for it when it begins, and when it comes only below the floor.
        three = await here.create()
        writer = await half_a_put(three["put_url"], 500_000, 0)
        await until(lambda: bool(drafts(here)))
        (small_disk / "other").write_bytes(bytes(900_000))
        writer.write(bytes(500_000))
        await until(lambda: not drafts(here))
        writer.close()
        assert (await here.get(three)).body["state"] == "pending"


async def test_a_disk_that_is_taken_away(here: World) -> None:
    """Nothing is lost by that, and the daemon lives on: what was there is there with the disk."""
    got, pending = await here.uploaded(b"data"), await here.create()
    parts = await here.create(size_bytes=7 << 20)
    away = root(here).rename(root(here).with_name("away"))
    for method, path in (("GET", ""), ("GET", f"/{got['object_id']}"), ("POST", "")):
        reply = await here.call(method, path, {"size_bytes": 7 << 20} if method == "POST" else None)
        assert (reply.status, reply.code) == (502, "object_store_failed")
    assert (await here.raw("GET", got["get_url"]))[0] == 502
    for url, size in ((pending["put_url"], 4), (parts["parts"][1]["url"], 2 << 20)):
        assert await here.put(url, bytes(size)) == 502
    with pytest.raises(StoreFailed, match="No such file"):
        await here.transit.sweep.once()
    away.rename(root(here))
    await here.transit.sweep.once()
    assert await here.raw("GET", (await here.get(got)).body["get_url"]) == (200, b"data")
    assert await here.put(parts["parts"][1]["url"], bytes(2 << 20)) == 200


async def test_uploads_end_while_they_are_listed(here: World) -> None:
    async def come_and_go(key: str) -> None:
        for _ in range(30):
            await here.store.abort_upload(key, await here.store.begin_upload(key))

    async def look() -> None:
        while True:
            await here.store.uploads()

    async with asyncio.TaskGroup() as group:
        looking = [group.create_task(look()) for _ in range(2)]
        await asyncio.gather(*(come_and_go(f"obj_{number:024x}") for number in range(3)))
        for task in looking:
            task.cancel()


async def test_a_cancel_is_not_lost_where_the_disk_fails() -> None:
    disk, begun, fails = Disk(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        fails.wait(10)
        raise OSError(errno.ENOSPC, "full")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(disk.do(work))
        await until(begun.is_set)
        task.cancel()
        await asyncio.sleep(0)
        fails.set()
    disk.close()
    assert task.cancelled()
