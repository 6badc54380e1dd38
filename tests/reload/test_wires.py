"""What passes between an elder and the daemon that has the core, whoever that is by then."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.protocols import PodRef, Route, SessionClosed, SessionOpened
from kgpud.address import Address
from kgpud.handover import messages
from kgpud.handover.elders import Elders
from kgpud.handover.inherited import Inherited, Listening
from kgpud.handover.remote import CoreFailed, CoreLost, RemoteCore
from kgpud.handover.switch import Switch
from kgpud.handover.wire import Wire, WireClosed, pair

ROUTE = Route("a", 1, PodRef("kgpu", "a", "main"))


@dataclass
class Core:
    """Implements gateway.protocols.Core: one route for every key, once it is allowed to answer."""

    route: Route | None = ROUTE
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    told: list[object] = field(default_factory=list)

    async def resolve(self, fingerprint: str) -> Route | None:
        self.asked.append(fingerprint)
        if fingerprint == "broken":
            raise RuntimeError("secret")
        await self.open.wait()
        return self.route

    async def moved_on(self, fingerprint: str, route: Route) -> Route | None:
        del route
        return await self.resolve(fingerprint)

    async def welcome(self, rental: str) -> str:
        return f"welcome to {rental}"

    async def opened(self, session: SessionOpened) -> None:
        self.told.append(session)

    async def activity(self, rental: str, bytes_in: int, bytes_out: int) -> None:
        self.told.append((rental, bytes_in, bytes_out))

    async def closed(self, session: SessionClosed) -> None:
        self.told.append(session)


def answering() -> Core:
    core = Core()
    core.open.set()
    return core


@dataclass
class Sessions:
    names: Sequence[str] = ()
    cuts: list[tuple[str, str, str]] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)

    def notify(self, rental: str, sentence: str) -> None:
        raise AssertionError((rental, sentence))

    def cut(self, rental: str, reason: str, sentence: str) -> None:
        self.cuts.append((rental, reason, sentence))

    def open_sessions(self) -> Sequence[str]:
        return self.names


@dataclass
class Elder:
    remote: RemoteCore
    sessions: Sessions
    theirs: socket.socket


@asynccontextmanager
async def elder(names: Sequence[str] = ()) -> AsyncIterator[Elder]:
    ours, theirs = pair()
    sessions = Sessions(names)
    with ours, theirs:
        remote = RemoteCore(Wire(ours), sessions, sessions.stops.append)
        async with asyncio.TaskGroup() as group:
            hearing = group.create_task(remote.run())
            yield Elder(remote, sessions, theirs)
            hearing.cancel()


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(5):
        await event.wait()


def opened(name: str) -> SessionOpened:
    return SessionOpened(name, "a", 1, "exec", "::1", "me", "SHA256:x")


async def test_every_message_comes_as_it_was_sent() -> None:
    core, lost = answering(), list[str]()
    async with elder() as one:
        elders = Elders([one.theirs])
        assert await elders.greet() == []
        async with elders.served(core, lost.extend):
            assert await one.remote.resolve("key") == ROUTE
            assert await one.remote.welcome("a") == "welcome to a"
            await one.remote.activity("a", 1, 2)
            await one.remote.opened(opened("first"))
            await one.remote.opened(opened("second"))
            end = SessionClosed("first", "a", 3, 4, None, "exit")
            await one.remote.closed(end)
            with pytest.raises(CoreFailed, match=r"^RuntimeError$"):
                await one.remote.resolve("broken")
            assert core.told == [("a", 1, 2), opened("first"), opened("second"), end]
            core.route = None
            assert await one.remote.moved_on("key", ROUTE) is None
            # It goes without having ended its second session.
            one.theirs.shutdown(socket.SHUT_RDWR)
            await soon(elders.gone)
    assert lost == ["second"]


async def test_what_one_owner_leaves_unanswered_the_next_one_is_asked() -> None:
    silent, answers = Core(), answering()
    async with elder() as one, asyncio.TaskGroup() as group:
        elders = Elders([one.theirs])
        async with elders.served(silent, list[str]().extend):
            asked = group.create_task(one.remote.resolve("key"))
            while not silent.asked:  # noqa: ASYNC110 - it is the loop's next turns
                await asyncio.sleep(0)
        await elders.greet()
        async with elders.served(answers, list[str]().extend):
            async with asyncio.timeout(5):
                assert await asked == ROUTE


async def test_a_new_owner_learns_of_all_sessions() -> None:
    names = [f"{number:016x}" for number in range(5000)]
    async with elder(names) as one:
        elders = Elders([one.theirs])
        assert sorted(await elders.greet()) == names
        elders.close()
        await soon(one.remote.lost)


async def test_cuts_and_stops_reach_an_elder_even_before_it_is_served() -> None:
    async with elder() as one:
        elders = Elders([one.theirs])
        for _ in range(1000):
            elders.cut("a", "returned", "the rental was released")
        async with elders.served(answering(), list[str]().extend), asyncio.TaskGroup() as group:
            hurry = asyncio.Event()
            group.create_task(elders.drain(30, hurry))
            while not one.sessions.stops:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
            hurry.set()
            while len(one.sessions.stops) < 2:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
            one.theirs.shutdown(socket.SHUT_RDWR)
        assert one.sessions.stops == [30, 0]
        assert one.sessions.cuts == [("a", "returned", "the rental was released")]


async def test_without_an_owner_questions_fail_and_news_are_dropped() -> None:
    async with elder() as one, asyncio.TaskGroup() as group:
        asked = group.create_task(_fails(one.remote))
        await asyncio.sleep(0)
        one.theirs.close()
        await soon(one.remote.lost)
        async with asyncio.timeout(5):
            await asked
        await _fails(one.remote)
        await one.remote.closed(SessionClosed("first", "a", 3, 4, None, "exit"))


async def _fails(remote: RemoteCore) -> None:
    with pytest.raises(CoreLost):
        await remote.resolve("key")


def test_fields_of_a_later_version_are_passed_over() -> None:
    pod = {"namespace": "kgpu", "name": "a", "container": "main", "cluster": "new"}
    later = {"rental": "a", "generation": 1, "pod": pod, "waits_for": None, "colour": "red"}
    assert messages.route(later) == ROUTE


async def test_a_switch_holds_who_asks_until_the_next_core() -> None:
    switch, first, second = Switch(), Core(), answering()
    async with asyncio.TaskGroup() as group:
        early = group.create_task(switch.resolve("early"))
        switch.use(first)
        moving = group.create_task(switch.moved_on("moving", ROUTE))
        while len(first.asked) < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        holding = group.create_task(switch.hold())
        late = group.create_task(switch.resolve("late"))
        await asyncio.sleep(0.01)
        # Who has asked gets the answer; that there is none yet is asked again of the next core.
        assert not holding.done()
        first.open.set()
        async with asyncio.timeout(5):
            await holding
        assert early.result() == ROUTE
        assert (late.done(), moving.done()) == (False, False)
        switch.use(second)
        async with asyncio.timeout(5):
            assert await late == await moving == ROUTE
        assert (first.asked, second.asked) == (["early", "moving"], ["late", "moving"])


async def test_a_successor_whose_elder_was_gone_when_greeted_says_so_to_nobody() -> None:
    ours, theirs = pair()
    theirs.close()
    elders = Elders([ours])
    with capture_logs() as logs:
        assert await elders.greet() == []
    assert [entry["log_level"] for entry in logs] == ["info"]
    with socket.socket() as unused:
        listening = Listening(unused, Address("127.0.0.1", 0))
        inherited = Inherited(Path(), listening, listening, -1, [ours])
        with pytest.raises(WireClosed):
            await inherited.serving()
