"""What the folder's PUT URLs answer, and what becomes of uploads that go wrong."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kgpud.object_settings import Folder, Objects
from tests.objects.raw import begun_put, curl, drafts, half_a_put, marks, until, upload_files
from tests.objects.world import World, random_bytes, small, world

SETTINGS = small(Objects(folder=Folder(min_free_gb=0)))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, SETTINGS) as made:
        yield made


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


async def test_an_encoded_body(here: World, caplog: pytest.LogCaptureFixture) -> None:
    """What is stored would not be what was sent. Nobody inflates it, not even to pass over it."""
    made = await here.create()
    headers = {"Content-Encoding": "gzip", "Content-Length": "20"}
    status, _ = await here.raw("PUT", made["put_url"], data=io.BytesIO(bytes(20)), headers=headers)
    assert status == 415
    assert await here.stored() == set()
    assert not caplog.records


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


async def test_many_puts_of_one_url_at_once(here: World) -> None:
    """One of them is it, the others are told so; nothing is mixed."""
    made = await here.create()
    bodies = [random_bytes(300_000) for _ in range(6)]
    answers = await asyncio.gather(*(here.put(made["put_url"], body) for body in bodies))
    assert sorted(answers) == [200] + [409] * 5
    _, data = await here.raw("GET", (await here.get(made)).body["get_url"])
    assert data == bodies[answers.index(200)]


@pytest.mark.parametrize("size", [6 << 20, 7 << 20])
async def test_an_end_ends_the_uploads_under_way(here: World, size: int) -> None:
    """Or an account could fill the disk with what it is not charged for."""
    made = await here.create(size_bytes=size)
    url = made["put_url"] or made["parts"][0]["url"]
    reader, writer = await begun_put(url, made.get("part_size", size), 2 << 20)
    await until(lambda: any(path.stat().st_size for path in drafts(here) + upload_files(here)))
    await here.call("DELETE", f"/{made['object_id']}")
    assert not any(path.stat().st_size for path in drafts(here) + upload_files(here))
    writer.write(bytes(3 << 20))
    async with asyncio.timeout(10):
        said = await reader.readuntil(b"\r\n")
    assert said.split()[1] == b"410"
    writer.close()
    again = await here.raw("PUT", url, data=b"")
    assert again[0] in (403, 410)


async def test_what_is_coming_in_is_at_most_the_quota(tmp_path: Path) -> None:
    settings = Objects(quota_gb=0.003, object_gb=0.002, folder=Folder(min_free_gb=0))
    async with world(tmp_path, settings) as here:
        # A small one gives its reserve back; its URL is good for a large one.
        one, two, other = [await here.uploaded(b"small") for _ in range(3)]
        writer = await half_a_put(one["put_url"], 2_000_000, 1000)
        await until(lambda: bool(drafts(here)))
        assert await here.put(two["put_url"], bytes(1_500_000)) == 409
        assert await here.put(two["put_url"], bytes(900_000)) == 200
        # The same once more takes the first one's place.
        assert await here.put(one["put_url"], bytes(2_000_000)) == 200
        writer.close()
        await until(lambda: not drafts(here))
        assert await here.put(other["put_url"], bytes(1_500_000)) == 200


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
