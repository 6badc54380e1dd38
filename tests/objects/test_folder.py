"""What the folder's GET URLs answer."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from kgpud.http_settings import Http
from kgpud.object_settings import Folder, Objects
from kgpud.rest import tls
from kgpud.rest.app import build
from kgpud.rest.server import Runner
from tests.certificates import write_pair
from tests.objects.raw import parted
from tests.objects.world import World, random_bytes, small, world

SETTINGS = small(Objects(folder=Folder(min_free_gb=0)))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, SETTINGS) as made:
        yield made


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
    assert await ask(Range="bytes=-99999999") == (206, data)
    for nothing in (f"bytes={len(data)}-", f"bytes={len(data)}-99999999", "bytes=-0"):
        assert (await ask(Range=nothing))[0] == 416
    # What isn't understood may be ignored (RFC 9110 §14.2).
    for odd in (
        "bytes=1-2,5-6",
        "lines=1-2",
        "bytes=9-1",
        "bytes=-",
        "nonsense",
        f"bytes=0-{'9' * 99}",
    ):
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


async def test_over_tls_of_our_own(here: World, tmp_path: Path) -> None:
    """Where the kernel can't send the file as it is."""
    write_pair(tmp_path)
    pair = Http(tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    data = random_bytes((5 << 20) + 7)
    got = await here.uploaded(data)
    runner = Runner(build(here.platform.services), shutdown_timeout=1)
    await runner.setup()
    try:
        async with tls.listening(pair, here.clock) as context:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
            url = f"https://127.0.0.1:{runner.addresses[0][1]}{parted(got['get_url'])[2]}"
            async with here.session.get(url, ssl=trusted) as answer:
                assert await answer.read() == data
            span = {"Range": "bytes=3000001-5000000"}
            async with here.session.get(url, ssl=trusted, headers=span) as answer:
                assert await answer.read() == data[3_000_001:5_000_001]
            # Who leaves in the middle holds nothing up.
            async with here.session.get(url, ssl=trusted) as answer:
                await answer.content.readexactly(1000)
    finally:
        await runner.cleanup()
