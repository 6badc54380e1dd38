"""How many connections one source may hold open, whatever it does with them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from kgpud.rest.doorway import Doorway
from kgpud.rest.peers import Peers
from tests.certificates import write_pair

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def open_to_two(context: ssl.SSLContext | None, counted: str) -> AsyncIterator[int]:
    """Serve who says a line the same line; two connections of a counted address. Yield the port."""

    here: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.add(writer)
        writer.write(await reader.readline())
        await reader.read()
        writer.close()
        await writer.wait_closed()
        here.discard(writer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        door = Doorway(listener, {counted: "somebody"}.get, 2)
        async with await asyncio.start_server(answer, sock=door, ssl=context):
            yield listener.getsockname()[1]
        # Who has gone is noticed a moment later.
        while here or door.busy("somebody"):  # noqa: ASYNC110 - the door tells nobody
            await asyncio.sleep(0.01)


async def come(port: int) -> Connection:
    return await asyncio.open_connection("127.0.0.1", port)


async def leave(*connections: Connection) -> None:
    for _, writer in connections:
        writer.close()
        await writer.wait_closed()


async def served(connection: Connection) -> bool:
    """Say a line; tell whether it came back, or the connection is closed."""
    reader, writer = connection
    writer.write(b"here\n")
    try:
        return await reader.readline() == b"here\n"
    except ConnectionResetError:
        return False


async def test_a_third_connection_is_closed_until_one_has_gone() -> None:
    async with asyncio.timeout(20), open_to_two(None, "127.0.0.1") as port:
        first, second = await come(port), await come(port)
        assert [await served(first), await served(second)] == [True, True]
        third = await come(port)
        assert not await served(third)
        await leave(first, third)
        while not await served(fourth := await come(port)):
            await leave(fourth)
        await leave(second, fourth)


async def test_who_is_not_counted_comes_as_often_as_they_like() -> None:
    async with asyncio.timeout(20), open_to_two(None, "192.0.2.1") as port:
        many = [await come(port) for _ in range(5)]
        assert [await served(one) for one in many] == [True] * 5
        await leave(*many)


async def test_who_never_begins_tls_is_counted(tmp_path: Path) -> None:
    write_pair(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    async with asyncio.timeout(20), open_to_two(context, "127.0.0.1") as port:
        silent = [await come(port), await come(port)]
        reader, _ = third = await come(port)
        assert await reader.read() == b""
        await leave(*silent, third)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("127.0.0.1", None),
        ("198.51.100.9", None),
    ],
)
def test_this_machine_and_proxies_are_not_counted(address: str, source: str | None) -> None:
    assert Peers((ip_network("198.51.100.0/24"),)).source(address) == source
