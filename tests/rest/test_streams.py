"""Answers that are streams: sent as they come, ended by either side, never half without a sign."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from kgpud.errors import Code, UserError
from kgpud.rest.app import build
from kgpud.rest.auth import Access
from kgpud.rest.call import Call
from kgpud.rest.route import Route
from kgpud.rest.server import Runner
from kgpud.rest.shapes.menu import GpuModel
from kgpud.rest.shapes.streams import HEARTBEAT, EventStream, TextStream, event

from .platform import Platform


@dataclass
class Source:
    """Where a stream's bytes come from: the test decides when, and sees whether it was closed."""

    chunks: asyncio.Queue[bytes | Exception | None] = field(default_factory=asyncio.Queue)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> AsyncGenerator[bytes, None]:
        try:
            while chunk := await self.chunks.get():
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        finally:
            self.closed.set()


@asynccontextmanager
async def serving(platform: Platform, source: Source) -> AsyncIterator[str]:
    """Serve a text stream and an event stream from the source, and one that is refused."""

    async def text(_call: Call) -> TextStream:
        """Stream text."""
        return TextStream(source.read())

    async def events(_call: Call) -> EventStream:
        """Stream events."""
        return EventStream(source.read())

    async def refused(_call: Call) -> TextStream:
        """Stream nothing."""
        raise UserError(Code.POD_NOT_READY, "not yet")

    routes = [
        Route("GET", f"/{handler.__name__}", handler, Access.PUBLIC)
        for handler in (text, events, refused)
    ]
    runner = Runner(build(platform.services, routes), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as made:
        yield made


async def test_bytes_come_as_they_are_made(
    platform: Platform, session: aiohttp.ClientSession
) -> None:
    source = Source()
    async with serving(platform, source) as root, session.get(f"{root}/text") as response:
        # The head is here before there is anything to say.
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert len(response.headers["X-Request-ID"]) == 16
        for chunk in (b"one\n", b"\xff\n"):
            source.chunks.put_nowait(chunk)
            assert await response.content.readany() == chunk
        source.chunks.put_nowait(None)
        assert await response.read() == b""


async def test_events(platform: Platform, session: aiohttp.ClientSession) -> None:
    source = Source()
    line = GpuModel(gpu_model="a\nb", total=1, free=1, price_per_hour_credits=1)
    async with serving(platform, source) as root, session.get(f"{root}/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        source.chunks.put_nowait(HEARTBEAT)
        source.chunks.put_nowait(event("line", line, 7))
        source.chunks.put_nowait(None)
        lines = (await response.text()).splitlines()
    assert lines[0].startswith(":")
    assert lines[2:4] == ["event: line", "id: 7"]
    # No newline of ours may end a data line early.
    assert lines[4] == f"data: {line.model_dump_json()}"


async def test_what_is_refused_has_the_shape_of_every_error(
    platform: Platform, session: aiohttp.ClientSession
) -> None:
    async with serving(platform, Source()) as root, session.get(f"{root}/refused") as response:
        assert response.status == 409
        assert (await response.json(content_type=None))["code"] == "pod_not_ready"


async def test_an_error_in_the_middle_is_no_end(
    platform: Platform, session: aiohttp.ClientSession, capfd: pytest.CaptureFixture[str]
) -> None:
    source = Source()
    async with serving(platform, source) as root, session.get(f"{root}/text") as response:
        source.chunks.put_nowait(b"one\n")
        assert await response.content.readany() == b"one\n"
        source.chunks.put_nowait(RuntimeError("a bug of ours"))
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert "a bug of ours" in "".join(capfd.readouterr())


async def test_a_client_that_goes_ends_a_silent_stream(
    platform: Platform, session: aiohttp.ClientSession
) -> None:
    source = Source()
    async with serving(platform, source) as root:
        async with session.get(f"{root}/text") as response:
            assert response.status == 200
        async with asyncio.timeout(10):
            await source.closed.wait()


async def test_a_head_request_opens_no_stream(
    platform: Platform, session: aiohttp.ClientSession
) -> None:
    async with serving(platform, Source()) as root, session.head(f"{root}/text") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_a_server_that_stops_ends_its_streams(
    platform: Platform, session: aiohttp.ClientSession
) -> None:
    source = Source()
    async with serving(platform, source) as root:
        response = await session.get(f"{root}/text")
        assert response.status == 200
    assert source.closed.is_set()
    with pytest.raises(aiohttp.ClientError):
        await response.read()
