"""The audit trail: every session's row is written, once, whatever happens to the daemon."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kgpud.audit import DAEMON_LOST, Audit
from store import accounts, rentals, sessions
from store.db import Database
from store.records import Account, Rental, Session, SessionEnd
from tests.manual_clock import START_MS, ManualClock
from tests.platform.world import until

ACCOUNT = Account("acct_1", "a@example.org", "A", "user", "approved", 4, 4, 0, 1, 1)
POD = "gpu-rent-1-abcdef"
RENTAL = Rental(POD, "acct_1", "rent", "i", "v100", 1, "2", "1Gi", 1, 1000, 1, 1)
DAY = 86_400


def began(name: str, at: int = START_MS) -> Session:
    return Session(name, POD, 1, "SHA256:x", "192.0.2.7", "OpenSSH_9.2", "exec", at)


def ended(name: str, at: int = START_MS + 5) -> SessionEnd:
    return SessionEnd(name, at, 10, 20, 0, "exit")


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "kgpud.sqlite3") as database:
        async with database.transaction() as tx:
            await accounts.insert(tx, ACCOUNT)
            await rentals.insert(tx, RENTAL)
        yield database


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


Rows = dict[str, Session]


async def rows(db: Database) -> Rows:
    async with db.reading() as rx:
        return {one.session_id: one for one, _ in await sessions.newest(rx, 100)}


async def seen(db: Database, true: Callable[[Rows], bool]) -> None:
    """Wait until the table is so."""
    async with asyncio.timeout(20):
        while not true(await rows(db)):  # noqa: ASYNC110 - another task writes it
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(audit: Audit) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(audit.run())
        yield
        task.cancel()


async def test_a_row_is_there_while_the_session_runs_and_closed_after(
    db: Database, clock: ManualClock
) -> None:
    audit = Audit(db, clock, kept_days=1)
    async with running(audit):
        audit.opened(began("a"))
        await seen(db, bool)
        assert (await rows(db))["a"] == began("a")
        audit.closed(ended("a"))
        await seen(db, lambda found: found["a"].closed_at is not None)
    assert (await rows(db))["a"] == dataclasses.replace(
        began("a"), closed_at=START_MS + 5, bytes_in=10, bytes_out=20, exit_status=0, reason="exit"
    )


async def test_what_a_killed_daemon_left_open_is_closed_with_a_reason(
    db: Database, clock: ManualClock
) -> None:
    killed = Audit(db, clock, kept_days=1)
    for name in ("open", "closed"):
        killed.opened(began(name))
    killed.closed(ended("closed"))
    await killed.flush()
    clock.advance(60)
    told: list[bool] = []
    following = Audit(db, clock, kept_days=1, on_lost=lambda: told.append(True))
    async with db.transaction():
        # A disk that takes nothing by then keeps nobody from starting.
        await following.close_lost()
    assert (await rows(db))["open"].closed_at is None
    await following.flush()
    assert told == [True]
    found = await rows(db)
    assert (found["open"].reason, found["open"].closed_at) == (DAEMON_LOST, START_MS + 60_000)
    assert (found["open"].bytes_in, found["open"].exit_status) == (None, None)
    assert found["closed"].reason == "exit"


async def test_rows_wait_while_the_database_is_locked(
    db: Database, clock: ManualClock, tmp_path: Path
) -> None:
    audit = Audit(db, clock, kept_days=1)
    async with Database.open(tmp_path / "kgpud.sqlite3") as other, running(audit):
        async with other.transaction():
            audit.opened(began("a"))
            audit.closed(ended("a"))
            assert await rows(db) == {}
        await seen(db, bool)
    assert (await rows(db))["a"].reason == "exit"


async def test_a_full_disk_costs_no_row(db: Database, clock: ManualClock) -> None:
    async with db.transaction() as tx:
        await tx.rows("SELECT 1")
    async with db.reading() as rx:
        pages = (await rx.rows("PRAGMA page_count"))[0][0]
    audit = Audit(db, clock, kept_days=1)
    await db._writer.execute(f"PRAGMA max_page_count = {pages}")
    names = [f"s{n}" for n in range(2000)]
    async with running(audit):
        for name in names:
            audit.opened(began(name))
        await until(lambda: clock.sleeping == 2)
        assert await rows(db) == {}
        await db._writer.execute("PRAGMA max_page_count = 1000000")
        clock.advance(10)
        await seen(db, bool)
    async with db.reading() as rx:
        assert len(await sessions.newest(rx, 5000)) == len(names)


async def test_peers_of_the_last_days_are_told_oldest_first(
    db: Database, clock: ManualClock
) -> None:
    audit = Audit(db, clock, kept_days=100)
    for number, (peer, days) in enumerate([("a", 1), ("a", 5), ("b", 3), ("c", 9)]):
        session = began(f"s{number}", START_MS - days * DAY * 1000)
        audit.opened(dataclasses.replace(session, peer=peer))
    await audit.finish()
    assert await audit.recent_peers(7) == [("b", 3 * DAY), ("a", DAY)]


async def test_old_rows_are_forgotten_and_open_ones_kept(db: Database, clock: ManualClock) -> None:
    audit = Audit(db, clock, kept_days=30)
    old, new = START_MS - 31 * DAY * 1000, START_MS - 29 * DAY * 1000
    for name, at in (("old", old), ("old-open", old), ("new", new)):
        audit.opened(began(name, at))
    audit.closed(ended("old"))
    audit.closed(ended("new"))
    await audit.flush()
    async with running(audit):
        await until(lambda: clock.sleeping == 1)
        assert set(await rows(db)) == {"old-open", "new"}
        clock.advance(2 * DAY)
        await seen(db, lambda found: "new" not in found)
