"""The REST API's commands: the next daemon ends those that a killed one left, in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.executor import Executor
from kgpud.commands import Commands
from store import accounts, commands, rentals
from store.db import Database
from tests.gateway.fake_api import Call, FakeApi, serving
from tests.manual_clock import ManualClock
from tests.platform.test_audit import ACCOUNT, POD, RENTAL
from tests.platform.world import until

A_WHILE = 1.0  # until what began is written


@dataclass
class House:
    db: Database
    api: FakeApi
    clock: ManualClock
    patience: float = 20.0

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Commands]:
        """Run one until it is killed."""
        executor = Executor(self.api, beside_seconds=self.patience)
        service = Commands(self.db, self.clock, executor, "kgpu")
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(service.run())
            yield service
            task.cancel()

    async def names(self) -> list[str]:
        async with self.db.reading() as rx:
            return [one.name for one in await commands.every(rx)]

    async def settled(self) -> list[str]:
        """Return the names that are written once everybody sleeps."""
        for _ in range(20):
            self.clock.advance(A_WHILE)
            await asyncio.sleep(0.005)
        return await self.names()


@pytest.fixture
def words() -> list[bytes]:
    """What the pod's side says of each hang-up, in turn."""
    return [b"ended", b"gone"]


@pytest.fixture
async def house(tmp_path: Path, words: list[bytes]) -> AsyncIterator[House]:
    async def script(call: Call) -> None:
        if word := words.pop(0):
            call.hung_up(word)

    async with Database.open(tmp_path / "kgpud.sqlite3") as db, serving(script) as api:
        async with db.transaction() as tx:
            await accounts.insert(tx, ACCOUNT)
            await rentals.insert(tx, RENTAL)
        yield House(db, api, ManualClock())


async def test_one_that_lasts_has_a_row_until_it_ends(house: House) -> None:
    async with house.daemon() as service:
        with service.noted(POD, 60):
            [name] = await house.settled()
            assert len(name) == 16
        assert await house.settled() == []
    assert house.api.calls == []


async def test_one_that_is_over_in_a_moment_touches_no_disk(house: House) -> None:
    async with house.daemon() as service:
        await until(lambda: house.clock.sleeping == 0)
        with service.noted(POD, 60):
            await until(lambda: house.clock.sleeping == 1)
        assert await house.settled() == []


async def test_what_a_killed_daemon_left_is_ended_when_its_time_is_up(house: House) -> None:
    async with house.daemon() as killed:
        with killed.noted(POD, 60):
            [name] = await house.settled()
    async with house.daemon() as following, asyncio.timeout(20):
        with following.noted(POD, 300):  # its own is not touched
            await until(lambda: house.clock.sleeping == 2)
            house.clock.advance(59)
            await asyncio.sleep(0.02)
            assert house.api.calls == []
            house.clock.advance(1)
            await until(lambda: len(house.api.calls) == 2)
            end, begin, mode, _ = house.api.calls[0].command[4:]
            assert (begin + end, mode) == (name, "all")
            [own] = await house.settled()
            assert own != name


@pytest.mark.parametrize("words", [[b"", *[b"gone"] * 9]])
async def test_it_is_tried_until_the_pod_has_answered(house: House) -> None:
    house.patience = 0.1
    async with house.daemon() as killed:
        with killed.noted(POD, 1):
            await house.settled()
    async with house.daemon(), asyncio.timeout(20):
        while len(house.api.calls) < 2:
            await house.settled()
        assert await house.settled() == []


async def most_pages(db: Database, number: int) -> None:
    """Let the database grow to so many pages, or not at all any more."""
    async with db.transaction() as tx:
        await tx.rows(f"PRAGMA max_page_count = {number}")


@pytest.mark.parametrize("words", [[b"ended", b"gone"]])
async def test_one_that_nobody_could_be_asked_to_end_is_ended_later(house: House) -> None:
    async with house.daemon() as service, asyncio.timeout(20):
        await house.settled()
        with service.noted(POD, 60) as noted:
            noted.left()
        while len(house.api.calls) < 2:
            await house.settled()
        assert await house.settled() == []


async def test_a_full_disk_loses_none(house: House) -> None:
    async with house.daemon() as service:
        with ExitStack() as many:
            await most_pages(house.db, 1)
            for _ in range(300):
                many.enter_context(service.noted(POD, 60))
            with service.noted(POD, 60):
                assert await house.settled() == []
            await most_pages(house.db, 1 << 20)
            assert len(await house.settled()) == 300
        assert await house.settled() == []
