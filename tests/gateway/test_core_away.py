"""A core that fails or does not answer: one line and a status that is no success, never a hang."""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.asking import CoreAway, ask, tell
from gateway.protocols import PodRef, Route, SessionClosed, SessionOpened

from .fake_api import Call
from .through import FAST, Bench, Ready, through

AWAY = b"kgpud: the platform does not answer just now; try again in a moment"


class Failing(Ready):
    """A core whose store is away for one kind of message."""

    def __init__(self, fails: str) -> None:
        super().__init__()
        self.fails = fails
        self.resolved = 0

    def check(self, message: str) -> None:
        if message == self.fails:
            raise RuntimeError("the database is away")

    async def resolve(self, fingerprint: str) -> Route | None:
        del fingerprint
        self.resolved += 1
        if self.resolved > 2:  # the probe's and the signature's come first
            self.check("resolve")
        waits_for = "pulling" if self.fails == "moved_on" else None
        return Route("r1", 1, PodRef("kgpu", "r1", "main"), waits_for)

    async def moved_on(self, fingerprint: str, route: Route) -> Route | None:
        self.check("moved_on")
        return await super().moved_on(fingerprint, route)

    async def welcome(self, rental: str) -> str:
        self.check("welcome")
        return await super().welcome(rental)

    async def opened(self, session: SessionOpened) -> None:
        self.check("opened")
        await super().opened(session)

    async def activity(self, rental: str, bytes_in: int, bytes_out: int) -> None:
        self.check("activity")
        await super().activity(rental, bytes_in, bytes_out)

    async def closed(self, session: SessionClosed) -> None:
        self.check("closed")
        await super().closed(session)


async def brief(call: Call) -> None:
    """End at once, with 3."""
    call.upgrade()
    call.stdout(b"ran")
    call.finish(3, tty=("tty", "true") in call.query)


async def run(bench: Bench) -> tuple[int | None, bytes, bytes]:
    """Log in at a terminal as a real client; return the exit status and the output."""
    async with bench.client(FAST) as client:
        done = await client.run(encoding=None, term_type="xterm")
        assert isinstance(done.stdout, bytes)
        assert isinstance(done.stderr, bytes)
        return done.exit_status, done.stdout, done.stderr


@pytest.mark.parametrize("fails", ["opened", "resolve", "moved_on"])
async def test_what_a_session_needs(tmp_path: Path, fails: str) -> None:
    async with through(tmp_path, brief, Failing(fails)) as bench:
        with capture_logs() as logs:
            code, out, err = await run(bench)
        assert (code, out, err.splitlines()[-1]) == (255, b"", AWAY)
        assert errors(logs) == ["core_did_not_answer"]
        assert bench.api.calls == []


@pytest.mark.parametrize("fails", ["welcome", "activity", "closed"])
async def test_what_a_session_can_do_without(tmp_path: Path, fails: str) -> None:
    async with through(tmp_path, brief, Failing(fails)) as bench:
        with capture_logs() as logs:
            code, out, err = await run(bench)
            async with asyncio.timeout(20):
                await bench.bastion._cuts.empty.wait()
        welcome = b"" if fails == "welcome" else b"r1\r\n"
        assert (code, out, err) == (3, welcome + b"ran", b"")
        assert errors(logs) == ["core_did_not_answer"]


def errors(logs: list[MutableMapping[str, Any]]) -> list[str]:
    return [entry["event"] for entry in logs if entry["log_level"] == "error"]


async def test_no_question_takes_for_ever() -> None:
    never = asyncio.Event()

    async def asked() -> None:
        await never.wait()

    with pytest.raises(CoreAway):
        await ask("anything", asked(), 0.01)
    await tell("anything", asked(), 0.01)
