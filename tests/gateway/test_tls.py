"""The same link under TLS: its transport pauses, closes and ends in its own way."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.outcome import ExecRefused, Outcome
from gateway.wrapper import Command, Kind

from .fake_api import CLOSE, POD, SUCCESS, Call, Recorder, eventually, frame, serving

CAT = Command(Kind.COMMAND, [b"cat"])
MIB = 1024 * 1024


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's and a client's context for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(pem)
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=path)


async def test_bytes_both_ways(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    sent = bytes(range(256)) * (4 * MIB // 256)

    async def script(call: Call) -> None:
        call.upgrade()
        data = await call.stdin()
        for start in range(0, len(data), 32768):
            call.stdout(data[start : start + 32768])
            await call.writer.drain()
        call.finish(7)

    async with serving(script, server) as api:
        api.tls = client
        sink = Recorder()
        running = await api.executor.start(POD, CAT, sink)
        running.write(sent)
        running.end_stdin()
        running.pause()
        running.resume()
        assert await sink.ended() == Outcome(7)
        assert sink.out == sent


async def test_all_links_receive_into_the_same_memory(tmp_path: Path) -> None:
    """asyncio would hold 256 KiB for each."""
    server, client = contexts(tmp_path)

    async def script(call: Call) -> None:
        call.upgrade()
        call.stdout(bytes(4 * MIB))
        await call.gone()

    async with serving(script, server) as api:
        api.tls = client
        executor = api.executor
        sinks = [Recorder() for _ in range(3)]
        running = [await executor.start(POD, CAT, sink) for sink in sinks]
        await eventually(lambda: all(len(sink.out) == 4 * MIB for sink in sinks))
        used = [one._link._transport._ssl_protocol._ssl_buffer for one in running]  # type: ignore[attr-defined]
        assert {id(memory) for memory in used} == {id(executor._incoming._sealed)}
        for one in running:
            one.leave()


@pytest.mark.parametrize("closed", [True, False])
async def test_all_of_it_in_one_record(tmp_path: Path, closed: bool) -> None:
    server, client = contexts(tmp_path)

    async def script(call: Call) -> None:
        trailer = call.trailer(0)
        messages = (b"\1", b"\1hello" + trailer, b"\2" + trailer, b"\3" + SUCCESS)
        body = b"".join(frame(2, message) for message in messages)
        close = frame(CLOSE, b"\x03\xe8") if closed else b""
        call.writer.write(call.switching() + body + close)

    async with serving(script, server) as api:
        api.tls = client
        sink = Recorder()
        await api.executor.start(POD, CAT, sink)
        assert await sink.ended() == Outcome(0)
        assert sink.out == b"hello"


async def test_a_certificate_of_somebody_else_is_refused(tmp_path: Path) -> None:
    server, _ = contexts(tmp_path)
    async with serving(lambda call: call.gone(), server) as api:
        api.tls = ssl.create_default_context()
        with pytest.raises(ExecRefused, match="can't be reached"):
            await api.executor.start(POD, CAT, Recorder())
        await asyncio.sleep(0.05)  # the server's side of it ends a little later
