"""Plays what a recorded exec's client did to the local cluster, and gives an account of each side.

A client's row is played when all that the recording has before it has come. The recorded waits are
shortened: they only show that nothing more came.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

from . import exec_account
from .exec_account import Account, Row
from .raw_websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Answer, RawWebsocket

WITHIN = 20.0
PAUSE = 0.4
V5 = "v5.channel.k8s.io"
_NAMES = {TEXT: "text", BINARY: "binary"}
_LEAVES = ("tcp_fin", "tcp_rst", "close_frame")


@dataclass(frozen=True)
class Place:
    """A cluster to play to."""

    url: str
    token: str
    tls: ssl.SSLContext | None = None

    async def open(self, row: Row) -> tuple[Answer, RawWebsocket]:
        headers = {"Authorization": f"Bearer {self.token}", **row["headers"]}
        if row["user"] is None:
            headers["Authorization"] = ""
        if row["user"] == "sched":
            headers["Impersonate-User"] = "system:kube-scheduler"
        if row["subprotocols"]:
            headers["Sec-WebSocket-Protocol"] = ", ".join(row["subprotocols"])
        return await RawWebsocket.open(self.url, row["method"], row["path"], headers, self.tls)

    async def run(self, pod: str, *argv: str) -> str:
        """Run a command in a pod; return its output."""
        query = urlencode([("stdout", "true"), *(("command", part) for part in argv)])
        path = f"/api/v1/namespaces/default/pods/{pod}/exec?{query}"
        row = {"method": "GET", "path": path, "subprotocols": [V5], "user": "admin", "headers": {}}
        async with asyncio.timeout(WITHIN):
            answer, socket = await self.open(row)
            assert answer.status == 101, answer
            account = Account()
            await _gather(socket, account)
            await socket.close()
        assert account.end == "close 1000", account
        return account.channels[1].decode()


def sessions(rows: list[Row]) -> Iterator[list[Row]]:
    """Yield the rows of each request of a recording."""
    starts = [number for number, row in enumerate(rows) if row.get("ev") == "request"]
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield rows[start:end]


async def _gather(socket: RawWebsocket, account: Account) -> None:
    while (frame := await socket.receive()) is not None:
        opcode, data = frame
        if opcode == CLOSE:
            account.end = f"close {int.from_bytes(data[:2], 'big')}"
            return
        if opcode == PONG:
            account.pongs.append(data)
        else:
            assert len(data) <= 32769
            account.take(_NAMES[opcode], data[0], data[1:])
    account.end = "eof"


class Player:
    """Plays one session. `got` is the cluster's account, `wanted` the recording's.

    `pace` is how many seconds one of the client's recorded seconds takes at least.
    """

    def __init__(self, place: Place, rows: list[Row], pace: float = 0.0) -> None:
        self._place = place
        self._rows = rows
        self._pace = pace
        self._pod = rows[0]["path"].split("/")[6]
        self._began = 0.0
        self._due = 0.0
        self.wanted = Account()
        self.got = Account()

    async def play(self) -> tuple[Account, Account]:
        answer, socket = await self._place.open(self._rows[0])
        if answer.status != 101:
            self.got.answer = exec_account.refusal(answer.status, answer.headers, answer.body)
            await socket.close()
        else:
            self.got.answer = exec_account.upgrade(answer.headers)
            self._began = asyncio.get_running_loop().time()
            async with self._receiving(socket):
                for row in self._rows[1:]:
                    await self._row(socket, row)
        for row in self._rows[1:] if answer.status != 101 else ():
            self._expect(row)
        return self.wanted.normalised(), self.got.normalised()

    @asynccontextmanager
    async def _receiving(self, socket: RawWebsocket) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            gathering = group.create_task(_gather(socket, self.got))
            try:
                yield
                await self._until_covered()
                if self.wanted.end.startswith(("close", "eof", "answered")):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(WITHIN):
                            await asyncio.shield(gathering)
                    lived = asyncio.get_running_loop().time() - self._began
                    assert lived > self._due * 0.8, "cut too early"
                else:
                    await asyncio.sleep(PAUSE)
                self._settle_end()
            finally:
                gathering.cancel()
                await socket.close()

    def _settle_end(self) -> None:
        """Tell what the server did after the client's own leaving apart from an end of its own."""
        if self.wanted.end in ("answered", "unanswered"):
            self.got.end = {"close 1000": "answered", "open": "unanswered"}.get(
                self.got.end, self.got.end
            )
        elif self.wanted.end == "left":
            self.got.end = "left"

    async def _until_covered(self) -> None:
        """Wait until all that is expected by now has come; if it never does, comparing tells."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WITHIN
        while loop.time() < deadline:
            if self.got.covers(self.wanted):
                return
            await asyncio.sleep(0.01)

    async def _row(self, socket: RawWebsocket, row: Row) -> None:
        if self.wanted.end not in ("open", "left"):
            if row.get("ev") == "close_exc":
                self.wanted.end = "unanswered"
            elif row.get("ev", "").startswith("ps"):
                await self._processes(row)
            return
        if row.get("dir") == ">":
            await self._until_covered()
            await self._wait_for(row)
            self._act(socket, row)
        elif row.get("ev") in _LEAVES:
            await self._until_covered()
            await self._leave(socket, row["ev"])
        elif row.get("ev", "").startswith("ps"):
            await self._processes(row)
        elif str(row.get("note", "")).startswith("still open"):
            await self._until_covered()
            await asyncio.sleep(PAUSE)
            self.got.still_open.append(self.got.end == "open")
            self.wanted.still_open.append(True)
        else:
            self._expect(row)

    async def _wait_for(self, row: Row) -> None:
        due = self._began + row["t"] * self._pace
        await asyncio.sleep(due - asyncio.get_running_loop().time())

    def _act(self, socket: RawWebsocket, row: Row) -> None:
        kind, note = row.get("op", ""), str(row.get("note", ""))
        if kind == "close":
            socket.send(CLOSE, row["code"].to_bytes(2, "big"))
            self.wanted.end = "answered"
        elif kind == "ping":
            socket.send(PING, str(row.get("text", "hol")).encode())
        elif kind == "pong(unsolicited)":
            socket.send(PONG, b"")
        elif kind == "text":
            socket.send(TEXT, row["text"].encode().decode("unicode_escape").encode())
        elif "fragments" in note:
            socket.send(BINARY, b"\0abc", final=False)
            socket.send(CONTINUATION, b"def", final=False)
            socket.send(CONTINUATION, b"ghi")
        elif "message_len" in row:
            socket.send(BINARY, b"\0" + b"x" * (row["message_len"] - 1))
        elif "ch" in row:
            socket.send(BINARY, bytes((row["ch"],)) + exec_account.payload(row))
        else:
            assert row["len"] == 0
            socket.send(BINARY, b"")

    async def _leave(self, socket: RawWebsocket, how: str) -> None:
        if how == "close_frame":
            socket.send(CLOSE, b"\x03\xe8")
            await socket.drain()
        elif how == "tcp_rst":
            await socket.reset()
        else:
            await socket.close()
        self.wanted.end = "left"

    async def _processes(self, row: Row) -> None:
        """Compare `ps` once what is expected can be seen, and again after a while."""
        has_parent = row["ev"] != "ps"
        numbers = re.findall(r"\d{6}", self._rows[0]["path"])
        wanted = exec_account.processes(row["ps"], has_parent=has_parent)
        got = await self._eventually(wanted, numbers[0], has_parent)
        if self.wanted.end != "open":
            await asyncio.sleep(PAUSE)
            got = await self._eventually(wanted, numbers[0], has_parent)
        self.wanted.processes.append(wanted)
        self.got.processes.append(got)

    async def _eventually(self, wanted: list[str], number: str, has_parent: bool) -> list[str]:
        """Look until `wanted` is seen: a look in the middle of a fork sees its parent twice."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WITHIN
        while True:
            got = await self._ps(number, has_parent)
            if got == wanted or loop.time() > deadline:
                return got
            await asyncio.sleep(0.1)

    async def _ps(self, number: str, has_parent: bool) -> list[str]:
        columns = "pid=,ppid=,stat=,args=" if has_parent else "pid=,stat=,etimes=,args="
        said = await self._place.run(self._pod, "ps", "-eo", columns)
        lines = [line for line in said.splitlines() if number in line]
        return exec_account.processes(lines, has_parent=has_parent)

    def _expect(self, row: Row) -> None:
        wanted, event = self.wanted, row.get("ev")
        if event == "upgraded":
            wanted.answer = exec_account.upgrade(exec_account.lower(row["headers"]))
        elif event == "same_request_read_by_hand":
            headers = exec_account.lower(row["headers"])
            wanted.answer = exec_account.refusal(row["status"], headers, row["body"].encode())
        elif row.get("op") in ("binary", "text"):
            wanted.take(row["op"], row["ch"], exec_account.payload(row))
        elif row.get("op") == "pong":
            wanted.pongs.append(str(row["text"]).encode())
        elif row.get("op") == "close":
            wanted.end = f"close {row['code']}"
        elif row.get("op") == "closed(EOF)":
            wanted.end = "eof"
            self._due = row["t"] * self._pace
