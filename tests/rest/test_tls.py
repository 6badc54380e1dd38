"""TLS of our own: the certificate that lies there is the one that is shown."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from kgpud.config import ConfigError
from kgpud.http_settings import Http
from kgpud.rest import tls
from kgpud.rest.app import build
from kgpud.rest.server import Runner
from tests.manual_clock import ManualClock

from .platform import Platform


def write_pair(folder: Path, *, password: bytes | None = None) -> tuple[bytes, bytes]:
    """Write a self-signed certificate for 127.0.0.1 and its key; return both as DER and PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .sign(key, SHA256())
    )
    locked = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(pem)
    return certificate.public_bytes(serialization.Encoding.DER), pem


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
