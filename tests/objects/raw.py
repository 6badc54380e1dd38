"""Requests to the folder's URLs as no good client makes them, and what is then in the folder."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.objects.world import World


async def curl(*words: str, stdin: bytes = b"") -> bytes:
    argv = ["curl", "-sS", "-w", "%{http_code}", *words]
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        return (await process.communicate(stdin))[0]


async def half_a_put(url: str, size: int, sent: int) -> asyncio.StreamWriter:
    return (await begun_put(url, size, sent))[1]


async def begun_put(
    url: str, size: int, sent: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port, target = parted(url)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
    writer.write(bytes(sent))
    await writer.drain()
    return reader, writer


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
