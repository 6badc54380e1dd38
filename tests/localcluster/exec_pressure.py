"""Recorded execs of which only the summary was kept: readers and writers that outrun each other."""

import asyncio
import re
from typing import Any
from urllib.parse import urlencode

from .exec_account import Account, Row
from .exec_player import PAUSE, WITHIN, Place
from .raw_websocket import BINARY, CLOSE, RawWebsocket

_ENOUGH = 4 << 20
_MESSAGE = b"\0" + b"x" * 65535
_MOST_QUEUED = 64 << 20


def _request(protocol: str, *argv: str) -> Row:
    """Return the request row of a recording that has none."""
    query = urlencode([("stdout", "true"), ("stderr", "true"), *(("command", one) for one in argv)])
    path = f"/api/v1/namespaces/default/pods/w1/exec?{query}"
    return {"method": "GET", "path": path, "subprotocols": [protocol], "user": "", "headers": {}}


async def _opened(place: Place, row: Row) -> RawWebsocket:
    answer, socket = await place.open(row)
    assert answer.status == 101, answer
    return socket


async def flood(place: Place, rows: list[Row], *, by_reset: bool) -> tuple[Account, Account]:
    """A client that leaves in mid-flood: does the command live, is its output still read?"""
    socket = await _opened(place, rows[0])
    size = 0
    async with asyncio.timeout(WITHIN):
        while size < _ENOUGH:
            frame = await socket.receive()
            assert frame is not None
            size += len(frame[1])
    if by_reset:
        await socket.reset()
    else:
        socket.send(CLOSE, b"\x03\xe8")
        async with asyncio.timeout(WITHIN):  # or what is unread makes it a reset
            while (frame := await socket.receive()) is not None and frame[0] != CLOSE:
                pass
        await socket.close()
    number = re.findall(r"flood(\d+)", rows[0]["path"])[0]
    wanted = _fate(rows[-1]["every_2s"])
    look = f"cat /tmp/flood{number}; ps -eo stat=,args= | grep '[m]={number}'"
    deadline = asyncio.get_running_loop().time() + WITHIN
    got = await _seen(place, look)
    while got != wanted and asyncio.get_running_loop().time() < deadline:
        got = await _seen(place, look)
    if not wanted["is read"]:
        got = await _seen(place, look)  # and so it stays
    await place.run("w1", "pkill", "-9", "-f", f"m={number}")
    return Account(facts=[wanted]), Account(facts=[got])


async def _seen(place: Place, look: str) -> dict[str, bool]:
    seen = []
    for _ in range(4):
        seen.append(await place.run("w1", "sh", "-c", look))
        await asyncio.sleep(PAUSE / 2)
    return _fate(seen)


def _fate(seen: list[str]) -> dict[str, bool]:
    sizes = {found[0] for one in seen if (found := re.match(r"\d+", one))}
    return {"lives": any("S" in one or "R" in one for one in seen), "is read": len(sizes) > 1}


async def slow_reader(place: Place, rows: list[Row], protocol: str) -> tuple[Account, Account]:
    """A client that doesn't read stops the command, and then gets everything."""
    mark = f"/tmp/slow.{protocol[:2]}"
    command = f"head -c 50000000 /dev/zero; echo finished >{mark}"
    assert f"sh -c {command}" in rows[0]["probe"]
    socket = await _opened(place, _request(protocol, "sh", "-c", command))
    await asyncio.sleep(PAUSE)
    look = f"cat {mark}; ps -eo stat=,args= | grep '[f]inished >{mark}'"
    probed = await place.run("w1", "sh", "-c", look)
    got = Account(facts=[probed.replace("SNs", "Ss", 1).split(maxsplit=3)])
    total = 0
    async with asyncio.timeout(WITHIN):
        while (frame := await socket.receive()) is not None and frame[0] != CLOSE:
            if frame[1][:1] == b"\1":
                total += len(frame[1]) - 1
            else:
                got.take("binary", frame[1][0], frame[1][1:])
    await socket.close()
    got.facts.append(total)
    wanted = Account(facts=[["Ss", "sh", "-c", f"{command}\n"], rows[-1]["bytes_payload"]])
    status = next(row for row in rows if row.get("ch") == 3)
    wanted.take("binary", 3, status["text"].encode())
    return wanted, got


async def stdin_backpressure(place: Place, rows: list[Row]) -> tuple[Account, Account]:
    """A command that doesn't read stops its client; when it reads, the client goes on."""
    row = {**rows[0], "path": rows[0]["path"].replace("sleep+6", "sleep+2")}
    socket = await _opened(place, row)
    queued, waits = 0, 0
    async with asyncio.timeout(WITHIN):
        while not waits or queued < _ENOUGH:
            socket.send(BINARY, _MESSAGE)
            queued += len(_MESSAGE)
            assert queued < _MOST_QUEUED
            try:
                async with asyncio.timeout(PAUSE):
                    await socket.drain()
            except TimeoutError:
                waits += 1
        await socket.drain()
        socket.send(CLOSE, b"\x03\xe8")
        frames: list[Any] = []
        while (frame := await socket.receive()) is not None:
            frames.append(frame)
    await socket.close()
    wanted = [(BINARY, b"\1"), (CLOSE, b"\x03\xe8")]
    return Account(facts=[wanted]), Account(facts=[frames])


async def big_stdout(place: Place, rows: list[Row]) -> tuple[Account, Account]:
    """64 MiB arrive whole; the summary's sizes of messages bound ours."""
    socket = await _opened(place, rows[0])
    sizes: list[int] = []
    got = Account()
    async with asyncio.timeout(WITHIN):
        while (frame := await socket.receive()) is not None and frame[0] != CLOSE:
            if frame[1][0] == 1:
                sizes.append(len(frame[1]))
            else:
                got.take("binary", frame[1][0], frame[1][1:])
    await socket.close()
    summary = rows[-1]
    assert max(sizes) <= summary["max_frame"]
    got.facts = [sizes[0], sum(sizes) - len(sizes)]
    wanted = Account(facts=[1, summary["bytes"] - summary["frames"]])
    status = next(row for row in rows if row.get("ch") == 3)
    wanted.take("binary", 3, status["text"].encode())
    return wanted, got
