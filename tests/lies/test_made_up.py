"""Lies nobody recorded, told to the engine: what a user sees, and that it is soon."""

import asyncio

import pytest

from gateway.exec import ExecRefused
from gateway.wrapper import Command, Kind
from tests.gateway.fake_api import POD, Recorder, serving

from .made_up import TABLE, Row

# An engine that waits for an answer waits 30 s; nothing else may take nearly as long.
_SOON = 15.0
_LONGEST_LINE = 500


async def told(row: Row, within: float) -> tuple[int, str, Recorder]:
    sink = Recorder()
    async with serving(row.lie) as api, asyncio.timeout(within):
        try:
            running = await api.executor.start(POD, Command(Kind.COMMAND, [b"x"]), sink)
        except ExecRefused as refused:
            return 255, str(refused), sink
        try:
            running.write(bytes(row.stdin))
            outcome = await sink.outcome
        finally:
            running.leave()
    return 255 if outcome.exit_code is None else outcome.exit_code, outcome.broken or "", sink


def check(row: Row, code: int, line: str) -> None:
    assert code == row.code
    assert line.startswith(row.line)
    assert bool(line) == bool(row.line)
    assert line.isprintable(), "it could play tricks on a terminal"
    assert len(line) <= _LONGEST_LINE


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if not row.slow])
async def test_a_lie_is_seen_through(name: str) -> None:
    row = TABLE[name]
    code, line, sink = await told(row, _SOON)
    check(row, code, line)
    assert sink.out.startswith(row.out)
    assert sink.err == row.err


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.slow])
async def test_a_slow_lie_is_seen_through(name: str) -> None:
    code, line, _ = await told(TABLE[name], 60.0)
    check(TABLE[name], code, line)


@pytest.mark.parametrize("after", range(1, 20))
async def test_a_command_that_ends_while_stdin_flows_keeps_its_code(after: int) -> None:
    """Whenever the server throws the link away: `yes | ssh pod head` must not end as broken."""
    row = TABLE["the_end_of_it_while_stdin_flows"]
    sink = Recorder()
    async with serving(row.lie) as api, asyncio.timeout(_SOON):
        running = await api.executor.start(POD, Command(Kind.COMMAND, [b"x"]), sink)
        while not sink.outcome.done():
            running.write(bytes(4096 * after))
            await asyncio.sleep(0)
        running.leave()
    assert sink.outcome.result().exit_code == row.code
