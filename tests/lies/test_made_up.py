"""Lies nobody recorded, told to the engine in the clear and under TLS: what a user soon sees."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from gateway.link import Link
from gateway.outcome import ExecRefused
from gateway.wrapper import Command, Kind
from tests.gateway.fake_api import POD, Call, FakeApi, Recorder, eventually, serving
from tests.gateway.test_tls import contexts

from .made_up import TABLE
from .user import BROKEN, Seen

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]

# An engine that waits for an answer waits 30 s; nothing else may take nearly as long.
_SOON = 15.0
_LONGEST_LINE = 500
SOON = [name for name, row in TABLE.items() if not row.slow]
LATER = [name for name, row in TABLE.items() if row.slow]


async def lie(call: Call) -> None:
    """Tell the lie that the command asks for."""
    await TABLE[call.command[-1]].lie(call)


async def ask(api: FakeApi, name: str, within: float) -> Seen:
    sink = Recorder()
    async with asyncio.timeout(within):
        try:
            command = Command(Kind.COMMAND, [name.encode()], tty=TABLE[name].tty)
            running = await api.executor.start(POD, command, sink)
        except ExecRefused as refused:
            return Seen(BROKEN, b"", b"", str(refused))
        try:
            running.write(bytes(TABLE[name].stdin))
            outcome = await sink.outcome
        finally:
            running.leave()
    code = BROKEN if outcome.exit_code is None else outcome.exit_code
    return Seen(code, bytes(sink.out), bytes(sink.err), outcome.broken or "")


async def ask_all(names: list[str], tls: Contexts | None, within: float) -> dict[str, Seen]:
    server, client = tls or (None, None)
    async with serving(lie, server) as api, asyncio.TaskGroup() as group:
        api.tls = client
        asked = {name: group.create_task(ask(api, name, within)) for name in names}
    return {name: task.result() for name, task in asked.items()}


async def ask_both_ways(tls: Contexts) -> dict[str, dict[str, Seen]]:
    clear, under_tls = await asyncio.gather(*(ask_all(SOON, way, _SOON) for way in (None, tls)))
    return {"clear": clear, "TLS": under_tls}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Seen]]:
    return asyncio.run(ask_both_ways(contexts(tmp_path_factory.mktemp("tls"))))


@pytest.mark.parametrize("way", ["clear", "TLS"])
@pytest.mark.parametrize("name", SOON)
def test_a_lie_is_seen_through(told: dict[str, dict[str, Seen]], name: str, way: str) -> None:
    check(name, told[way][name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LATER)
def test_a_slow_lie_is_seen_through(name: str, tmp_path: Path) -> None:
    check(name, asyncio.run(ask_all([name], contexts(tmp_path), 60.0))[name])


def check(name: str, user: Seen) -> None:
    row = TABLE[name]
    assert user.code == row.code
    assert user.out.startswith(row.out)
    assert user.err == row.err
    assert user.line.startswith(row.line)
    assert bool(user.line) == bool(row.line)
    assert user.line.isprintable(), "it could play tricks on a terminal"
    assert len(user.line) <= _LONGEST_LINE


@pytest.mark.parametrize("after", range(1, 20))
async def test_a_command_that_ends_while_stdin_flows_keeps_its_code(after: int) -> None:
    """Whenever the server throws the link away: `yes | ssh pod head` must not end as broken."""
    name = "the_end_of_it_while_stdin_flows"
    sink = Recorder()
    async with serving(lie) as api, asyncio.timeout(_SOON):
        running = await api.executor.start(POD, Command(Kind.COMMAND, [name.encode()]), sink)
        while not sink.outcome.done():
            running.write(bytes(4096 * after))
            await asyncio.sleep(0)
        running.leave()
    assert sink.outcome.result().exit_code == TABLE[name].code


async def test_a_failed_write_drops_nothing_that_was_received() -> None:
    """The reset is there already, and nothing was read yet."""
    name = "the_end_of_it_while_stdin_flows"
    sink = Recorder()
    async with serving(lie) as api, asyncio.timeout(_SOON):
        running = await api.executor.start(POD, Command(Kind.COMMAND, [name.encode()]), sink)
        running.pause()
        running.write(bytes(4_000_000))
        await eventually(lambda: not tcp_is_open(running._link))
        running.write(b"more")
        await sink.outcome
        running.leave()
    assert bytes(sink.out) == TABLE[name].out
    assert sink.outcome.result().exit_code == TABLE[name].code


def tcp_is_open(link: Link) -> bool:
    """Ask the kernel: a connection that was reset is in state 7 (linux/tcp_states.h)."""
    sock = link._transport.get_extra_info("socket")
    return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) & 0xFF != 7)
