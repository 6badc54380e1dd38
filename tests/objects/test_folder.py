"""What the folder's URLs answer, and what becomes of uploads that go wrong."""

import asyncio
import io
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from kgpud.object_settings import Folder, Objects
from kgpud.objects.stores import StoreFailed
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


async def test_ranges_and_head(here: World) -> None:
    data = random_bytes(9_000_000)
    got = await here.uploaded(data[: 5 << 20])
    data, url = data[: 5 << 20], got["get_url"]

    async def ask(**headers: str) -> tuple[int, bytes]:
        return await here.raw("GET", url, headers=headers)

    assert await ask(Range="bytes=0-9") == (206, data[:10])
    assert await ask(Range="bytes=4000000-") == (206, data[4_000_000:])
    assert await ask(Range="bytes=-7") == (206, data[-7:])
    assert await ask(Range="bytes=5242870-99999999") == (206, data[-10:])
    assert (await ask(Range=f"bytes={len(data)}-"))[0] == 416
    # What isn't understood may be ignored (RFC 9110 §14.2).
    for odd in ("bytes=1-2,5-6", "lines=1-2", "bytes=9-1", "nonsense"):
        assert await ask(Range=odd) == (200, data)
    mark = f'"{got["etag"]}"'
    assert (await ask(**{"Range": "bytes=0-9", "If-Range": mark}))[0] == 206
    assert (await ask(**{"Range": "bytes=0-9", "If-Range": '"other"'}))[0] == 200
    async with here.session.head(url) as head:
        assert (head.status, head.content_length) == (200, len(data))
        assert head.headers["ETag"] == mark
        assert head.headers["Accept-Ranges"] == "bytes"
        # It comes from the API's own origin: nobody's page, whatever it is.
        assert head.headers["Content-Type"] == "application/octet-stream"
        assert head.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_resumed_download_never_mixes_two_versions(here: World) -> None:
    got = await here.uploaded(b"a" * 100)
    before = got["etag"]
    assert await here.put(got["put_url"], b"b" * 100) == 200
    resumed = {"Range": "bytes=50-", "If-Range": f'"{before}"'}
    assert await here.raw("GET", got["get_url"], headers=resumed) == (200, b"b" * 100)


async def test_a_put_without_a_length(here: World) -> None:
    made = await here.create()
    done = await curl("--upload-file", "-", made["put_url"], stdin=b"data")
    assert b"411" in done
    assert b"length_required" in done
    assert await here.stored() == set()


async def test_a_put_that_is_too_large_for_one(here: World) -> None:
    made = await here.create()
    assert made["put_max_bytes"] == 6 << 20
    assert await here.put(made["put_url"], bytes((6 << 20) + 1)) == 413
    assert await here.put(made["put_url"], bytes(6 << 20)) == 200


async def test_an_encoded_body(here: World) -> None:
    """aiohttp would inflate it on its way in: a small body could fill the disk."""
    made = await here.create()
    headers = {"Content-Encoding": "gzip", "Content-Length": "20"}
    status, _ = await here.raw("PUT", made["put_url"], data=io.BytesIO(bytes(20)), headers=headers)
    assert status == 415
    assert await here.stored() == set()


async def test_whoever_waits_to_be_told_is_told(here: World, tmp_path: Path) -> None:
    """curl sends ``Expect: 100-continue`` with a file, and nothing of it if that is refused."""
    file = tmp_path / "file"
    file.write_bytes(random_bytes(2_000_000))
    made = await here.create()
    said = await curl("-v", "--upload-file", str(file), made["put_url"])
    assert b"100 Continue" in said
    assert b"< HTTP/1.1 200" in said
    refused = await curl("-v", "--upload-file", str(file), made["put_url"] + "0")
    assert b"100 Continue" not in refused
    assert b"< HTTP/1.1 403" in refused


async def test_half_an_upload_is_nothing(here: World) -> None:
    made = await here.create()
    whole = await here.uploaded(b"before")
    for one in (made, whole):
        writer = await half_a_put(one["put_url"], 3 << 20, 2 << 20)
        await until(lambda: bool(drafts(here)))
        # A daemon that starts beside one that still drains takes nothing from it.
        await here.store.prepare()
        assert drafts(here)
        writer.close()
        await until(lambda: not drafts(here))
    assert (await here.get(made)).body["state"] == "pending"
    assert await here.raw("GET", whole["get_url"]) == (200, b"before")


async def test_the_newest_upload_wins(here: World) -> None:
    """A client whose connection died sends again; the old one must not hold it up, nor its disk."""
    made = await here.create(size_bytes=3 << 20)
    first = await half_a_put(made["put_url"], 3 << 20, 2 << 20)
    await until(lambda: any(path.stat().st_size for path in drafts(here)))
    assert await here.put(made["put_url"], bytes(3 << 20)) == 200
    assert all(path.stat().st_size == 0 for path in drafts(here))
    first.close()
    assert (await here.get(made)).body["state"] == "ready"


async def test_the_newest_part_wins(here: World) -> None:
    made = await here.create(size_bytes=7 << 20)
    one, two = made["parts"]
    old = await half_a_put(one["url"], 5 << 20, 2 << 20)
    await until(lambda: any(path.stat().st_size for path in upload_files(here)))
    good = random_bytes(5 << 20)
    assert await here.put(one["url"], good) == 200
    # The old one goes on, and is told that it need not.
    old.write(bytes(3 << 20))
    await old.drain()
    assert await here.put(two["url"], bytes(2 << 20)) == 200
    done = await here.call("POST", f"/{made['object_id']}/complete")
    _, data = await here.raw("GET", done.body["get_url"])
    assert data == good + bytes(2 << 20)
    old.close()


async def test_half_a_part_does_not_count(here: World) -> None:
    made = await here.create(size_bytes=7 << 20)
    one, two = made["parts"]
    assert await here.put(one["url"], bytes(5 << 20)) == 200
    assert await here.put(two["url"], bytes(2 << 20)) == 200
    # Sent again, and broken off: what was whole is no longer.
    writer = await half_a_put(one["url"], 5 << 20, 2 << 20)
    await until(lambda: len(list(marks(here))) == 1)
    writer.close()
    reply = await here.call("POST", f"/{made['object_id']}/complete")
    assert reply.code == "upload_incomplete"
    assert await here.put(one["url"], bytes(5 << 20)) == 200
    assert (await here.call("POST", f"/{made['object_id']}/complete")).status == 200


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


async def test_many_fetch_one_url(here: World) -> None:
    data = random_bytes(3_000_000)
    got = await here.uploaded(data)
    answers = await asyncio.gather(*(here.raw("GET", got["get_url"]) for _ in range(32)))
    assert all(answer == (200, data) for answer in answers)


async def test_readers_that_leave_or_stall_hold_up_nobody(here: World) -> None:
    got = await here.uploaded(bytes(6 << 20))
    host, port, target = parted(got["get_url"])
    stalled = []
    for _ in range(4):
        reader, writer = await asyncio.open_connection(host, port, limit=1000)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        stalled.append(writer)
    assert (await here.raw("GET", got["get_url"]))[0] == 200
    for writer in stalled:
        writer.transport.abort()
    assert (await here.raw("GET", got["get_url"]))[0] == 200


async def test_a_deleted_object_is_read_to_its_end(here: World) -> None:
    """As on S3: who has begun may finish; who comes later finds nothing."""
    data = random_bytes(6 << 20)
    got = await here.uploaded(data)
    async with here.session.get(got["get_url"]) as answer:
        first = await answer.content.readexactly(1000)
        await here.call("DELETE", f"/{got['object_id']}")
        assert first + await answer.read() == data
    assert (await here.raw("GET", got["get_url"]))[0] == 404


async def curl(*words: str, stdin: bytes = b"") -> bytes:
    argv = ["curl", "-sS", "-w", "%{http_code}", *words]
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return (await asyncio.wait_for(process.communicate(stdin), 30))[0]


async def half_a_put(url: str, size: int, sent: int) -> asyncio.StreamWriter:
    host, port, target = parted(url)
    _, writer = await asyncio.open_connection(host, port)
    writer.write(f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
    writer.write(bytes(sent))
    await writer.drain()
    return writer


def parted(url: str) -> tuple[str, int, str]:
    where, _, target = url.removeprefix("http://").partition("/")
    host, _, port = where.partition(":")
    return host, int(port), f"/{target}"


def root(here: World) -> Path:
    folder = here.transit.folder
    assert folder is not None
    return folder.layout.root


def drafts(here: World) -> list[Path]:
    return list((root(here) / "incoming").iterdir())


def upload_files(here: World) -> list[Path]:
    return list((root(here) / "parts").glob("*/*/data"))


def marks(here: World) -> list[Path]:
    return list((root(here) / "parts").glob("*/*/[0-9]*"))


async def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - files change without telling
            await asyncio.sleep(0.01)
