"""TLS of our own: the certificate that lies there is the one that is shown."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from kgpud.config import ConfigError
from kgpud.http_settings import Http
from kgpud.rest import tls
from kgpud.rest.app import build
from kgpud.rest.server import Runner
from tests.certificates import write_pair
from tests.manual_clock import ManualClock

from .platform import Platform


def settings(folder: Path) -> Http:
    return Http(tls_cert=folder / "cert.pem", tls_key=folder / "key.pem")


async def shown(port: int) -> bytes:
    """Return the certificate that a new connection is shown, as DER."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        return bytes(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    finally:
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def serving(platform: Platform, folder: Path, clock: ManualClock) -> AsyncIterator[int]:
    runner = Runner(build(platform.services), shutdown_timeout=1)
    await runner.setup()
    try:
        async with tls.listening(settings(folder), clock) as context:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
            yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_https_with_hsts(platform: Platform, tmp_path: Path) -> None:
    write_pair(tmp_path)
    trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    async with (
        serving(platform, tmp_path, ManualClock()) as port,
        aiohttp.request("GET", f"https://127.0.0.1:{port}/v1/gpu-models", ssl=trusted) as response,
    ):
        assert response.status == 200
        assert "max-age" in response.headers["Strict-Transport-Security"]


async def test_a_renewed_certificate_is_shown_without_a_restart(
    platform: Platform, tmp_path: Path
) -> None:
    clock = ManualClock()
    first, _ = write_pair(tmp_path)
    async with serving(platform, tmp_path, clock) as port:
        assert await shown(port) == first
        second, key = write_pair(tmp_path)
        # Only half of it is there yet: the old one stays.
        (tmp_path / "key.pem").write_bytes(b"half")
        await looked(clock)
        assert await shown(port) == first
        (tmp_path / "key.pem").write_bytes(key)
        await looked(clock)
        assert await shown(port) == second
        (tmp_path / "key.pem").unlink()
        await looked(clock)
        assert await shown(port) == second


async def looked(clock: ManualClock) -> None:
    """Let the files be looked at once."""
    async with asyncio.timeout(10):
        while not clock.sleeping:  # noqa: ASYNC110 - the clock wakes nobody
            await asyncio.sleep(0.01)
        clock.advance(10)
        while not clock.sleeping:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_a_certificate_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    write_pair(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, key = write_pair(other)
    good = (tmp_path / "key.pem").read_bytes()
    _, locked = write_pair(other, password=b"secret")
    for text in (key, b"", b"nonsense", locked, None):
        if text is None:
            (tmp_path / "key.pem").unlink()
        else:
            (tmp_path / "key.pem").write_bytes(text)
        with pytest.raises(ConfigError) as caught:
            async with tls.listening(settings(tmp_path), ManualClock()):
                pass
        assert caught.value.problems[0].startswith("http.tls_cert, http.tls_key: ")
    (tmp_path / "key.pem").write_bytes(good)
    async with tls.listening(settings(tmp_path), ManualClock()) as context:
        assert context is not None


async def test_without_files_there_is_no_tls() -> None:
    async with tls.listening(Http(), ManualClock()) as context:
        assert context is None
