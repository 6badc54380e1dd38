"""A TCP proxy that does to its connections what networks do: it cuts, stalls and delays them.

In front of a cluster it makes the API server one that is far away, or that is being restarted.
``python -m tests.lies.chaos --to 127.0.0.1:6443 --seed 7 --rate 0.3 --round-trip 5`` runs it alone.
"""

import argparse
import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from gateway.wrapper import BETWEEN

from .faults import Cutter, Fault, How, drawn

Address = tuple[str, int]
Draw = Callable[[int, str], Fault | None]

_CHUNK = 65536
_LONGEST_HEAD = 4 << 20
# What is on its way when there is a delay.
_UNDER_WAY = 64


def calm(number: int, word: str) -> Fault | None:
    """Draw no fault for any connection."""
    del number, word
    return None


def nowhere(word: str) -> Address | None:
    """Send no exec to another server."""
    del word
    return None


def by_seed(seed: int, rate: float) -> Draw:
    """Draw faults for so many of the connections, always the same ones."""
    return lambda number, _word: drawn(seed, number, rate)


@dataclass(eq=False)
class _Pair:
    """One connection: the client's end and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None

    def end(self, how: How) -> None:
        for writer in (self.client, self.server):
            if writer is None:
                continue
            if how is How.RESET:
                _reset(writer)
            else:
                writer.close()


@dataclass
class Chaos:
    """A running proxy. All of it may be changed while it runs, for connections to come.

    `draw` chooses the faults, by the connection's number and its exec's last word. `round_trip` is
    in seconds. `elsewhere` may send an exec to another server. `done` says what was done to whom.
    """

    to: Address
    draw: Draw = calm
    round_trip: float = 0.0
    elsewhere: Callable[[str], Address | None] = nowhere
    port: int = 0
    done: list[str] = field(default_factory=list)
    accepted: int = 0
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _pairs: set[_Pair] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self, port: int = 0) -> None:
        """Listen: on the port it had before, else on `port`, 0 for any free one."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port or port, limit=_LONGEST_HEAD
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self, how: How = How.RESET) -> None:
        """Be a server that was killed (RESET) or stopped (END): no connection, old or new."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut_all(how)

    def cut_all(self, how: How) -> None:
        """End every connection that there is."""
        for pair in list(self._pairs):
            pair.end(how)

    async def close(self) -> None:
        """End everything."""
        self._over.set()
        await self.refuse()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        pair = _Pair(writer)
        self._pairs.add(pair)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._connect(self.accepted, reader, pair)
        finally:
            self._pairs.discard(pair)
            self._tasks.discard(task)
            pair.end(How.END)

    async def _connect(self, number: int, reader: asyncio.StreamReader, pair: _Pair) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        word = _last_word(head)
        other = self.elsewhere(word)
        fault = None if other else self.draw(number, word)
        back, pair.server = await _open_connection(other or self.to)
        if fault:
            self.done.append(f"{number}: {fault}: {word[:80]!r}")
        up, down = (fault, None) if fault and not fault.down else (None, fault)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(reader, pair.server, up, pair, head))
            group.create_task(self._pump(back, pair.client, down, pair, b""))

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: Fault | None,
        pair: _Pair,
        data: bytes,
    ) -> None:
        """Pass one direction on, `data` first, up to its fault."""
        under_way: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(_UNDER_WAY)
        loop = asyncio.get_running_loop()
        cutter = Cutter(fault) if fault else None
        async with asyncio.TaskGroup() as group:
            group.create_task(_deliver(under_way, writer))
            with suppress(ConnectionError):
                while data := data or await reader.read(_CHUNK):
                    until = cutter.feed(data) if cutter else len(data)
                    await under_way.put((loop.time() + self.round_trip / 2, data[:until]))
                    data = data[until:]
                    if fault and cutter and cutter.hit:
                        await under_way.join()
                        await self._hurt(fault, pair)
                        cutter = None
            await under_way.put((loop.time() + self.round_trip / 2, None))

    async def _hurt(self, fault: Fault, pair: _Pair) -> None:
        if fault.how is not How.STALL:
            pair.end(fault.how)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(fault.seconds):
                await self._over.wait()


class _Patient(asyncio.StreamReaderProtocol):
    """Reads what was received to its end, though a write failed: it came before the reset."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self._reader = reader
        self._sock: socket.socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sock = transport.get_extra_info("socket")
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        with suppress(OSError):
            while exc and (data := os.read(self._sock.fileno(), _CHUNK)):
                self._reader.feed_data(data)
        super().connection_lost(None)


async def _open_connection(to: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(_CHUNK)
    transport, protocol = await loop.create_connection(lambda: _Patient(reader), *to)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _deliver(
    under_way: asyncio.Queue[tuple[float, bytes | None]], writer: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, data = await under_way.get()
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        if not writer.is_closing():  # one that is gone gets no more, and it is read to its end
            with suppress(OSError):  # ENOTCONN, from shutdown, is no ConnectionError
                if data is not None:
                    writer.write(data)
                elif writer.can_write_eof():
                    writer.write_eof()
                await writer.drain()
        under_way.task_done()
        if data is None:
            return


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(AttributeError):  # Python 3.11 can't abort one that drained and ended
        writer.transport.abort()


def _last_word(head: bytes) -> str:
    """Return the last word of the command that a request wants to run, "" if it is no exec."""
    target = head.split(b" ", 2)[1].decode(errors="replace")
    words = [value for name, value in parse_qsl(urlsplit(target).query) if name == "command"]
    return words[-1].replace(BETWEEN, "") if words else ""


@asynccontextmanager
async def running(to: Address) -> AsyncIterator[Chaos]:
    """Run a proxy on a free port while the block runs."""
    chaos = Chaos(to)
    await chaos.open()
    try:
        yield chaos
    finally:
        await chaos.close()


async def _alone(given: argparse.Namespace) -> None:
    host, _, port = given.to.rpartition(":")
    chaos = Chaos((host, int(port)), by_seed(given.seed, given.rate), given.round_trip / 1000)
    await chaos.open(given.port)
    print(f"127.0.0.1:{chaos.port} -> {given.to}", flush=True)
    told = 0
    while True:
        await asyncio.sleep(0.2)
        for line in chaos.done[told:]:
            print(line, flush=True)
        told = len(chaos.done)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.lies.chaos")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the real server")
    parser.add_argument("--port", type=int, default=0, help="where to listen (0: any free port)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0, help="share of connections to hurt")
    parser.add_argument("--round-trip", type=float, default=0.0, metavar="MS", help="e.g. 5")
    with suppress(KeyboardInterrupt):
        asyncio.run(_alone(parser.parse_args()))
