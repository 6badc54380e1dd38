"""The one writer: whole or not at all, whatever happens to the task that asked."""

import asyncio
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest

from store import installation, migrate
from store.db import Connection, Database, StoreUnavailable


async def numbers(db: Database) -> list[int]:
    async with db.reading() as rx:
        return [row["n"] for row in await rx.rows("SELECT n FROM t ORDER BY n")]


@pytest.fixture(autouse=True)
async def table(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.run("CREATE TABLE t (n INTEGER PRIMARY KEY) STRICT")


async def put(tx: Connection, number: int) -> None:
    await tx.run("INSERT INTO t VALUES (?)", (number,))


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    for path in tmp_path.glob("kgpud.sqlite3*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_an_error_undoes_all_of_it(db: Database) -> None:
    with pytest.raises(LookupError):
        async with db.transaction() as tx:
            await put(tx, 1)
            raise LookupError
    async with db.transaction() as tx:
        await put(tx, 2)
    assert await numbers(db) == [2]


async def test_units_of_work_do_not_interleave(db: Database) -> None:
    async def add() -> None:
        async with db.transaction() as tx:
            row = await tx.row("SELECT count(*) AS n FROM t")
            assert row is not None
            await asyncio.sleep(0)
            await put(tx, row["n"])

    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(add())
    assert await numbers(db) == list(range(50))


async def test_cancelled_at_any_await_it_is_whole_or_nothing(db: Database) -> None:
    """The task is cancelled after ever more turns of the event loop, until it gets through."""

    async def work() -> None:
        async with db.transaction() as tx:
            await put(tx, 1)
            await put(tx, 2)

    outcomes = []
    for steps in range(400):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work())
            for _ in range(steps // 4):
                await asyncio.sleep(0)
            task.cancel()
            task.cancel()
        outcomes.append(await numbers(db))
        # The lock is free and no transaction is left open.
        async with asyncio.timeout(2), db.transaction() as tx:
            await tx.run("DELETE FROM t")
    assert [] in outcomes
    assert all(outcome in ([], [1, 2]) for outcome in outcomes)


async def test_cancelled_while_its_statement_runs(db: Database) -> None:
    slow = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 300000)"
        " INSERT INTO t SELECT x FROM c"
    )
    started = asyncio.Event()

    async def work() -> None:
        async with db.transaction() as tx:
            started.set()
            await tx.run(slow)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(work())
        await started.wait()
        await asyncio.sleep(0)
        task.cancel()
    async with db.transaction() as tx:
        await put(tx, 7)
    assert await numbers(db) == [7]


async def test_a_cancel_is_not_lost_where_the_commit_fails(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.run("CREATE TABLE parent (n INTEGER PRIMARY KEY)")
        await tx.run("CREATE TABLE child (n REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")

    async def work() -> None:
        async with db.transaction() as tx:
            await tx.run("INSERT INTO child VALUES (1)")

    async def failed() -> None:
        with pytest.raises(sqlite3.IntegrityError):
            await work()

    met = []
    for steps in range(400):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(failed())
            for _ in range(steps // 4):
                await asyncio.sleep(0)
            met.append(task.cancel())
        assert task.cancelled() == met[-1]
    assert set(met) == {True, False}


async def test_a_connection_is_dead_after_its_transaction(db: Database) -> None:
    async with db.transaction() as tx:
        pass
    with pytest.raises(RuntimeError):
        await put(tx, 1)


async def test_reading_cannot_write(db: Database) -> None:
    async with db.reading() as rx:
        with pytest.raises(StoreUnavailable):
            await put(rx, 1)


async def test_a_full_disk_is_told_and_passes(db: Database) -> None:
    async with db.transaction() as tx:
        row = await tx.row("PRAGMA page_count")
        assert row is not None
        await tx.rows(f"PRAGMA max_page_count = {row[0]}")
    with pytest.raises(StoreUnavailable):
        async with db.transaction() as tx:
            await put(tx, 1)
            await tx.run("CREATE TABLE big AS SELECT zeroblob(100000) AS b")
    assert await numbers(db) == []
    async with db.transaction() as tx:
        await tx.rows("PRAGMA max_page_count = 100000")
        await put(tx, 2)
    assert await numbers(db) == [2]


async def test_a_mistake_in_sql_is_not_taken_for_a_full_disk(db: Database) -> None:
    with pytest.raises(sqlite3.OperationalError):
        async with db.transaction() as tx:
            await tx.run("INSERT INTO nowhere VALUES (1)")


WRITER = """
import asyncio, sys
from pathlib import Path
from store.db import Database
async def main():
    async with Database.open(Path(sys.argv[1])) as db:
        for n in range(100):
            async with db.transaction() as tx:
                row = await tx.row("SELECT count(*) AS n FROM t")
                await tx.run("INSERT INTO t VALUES (?)", (row["n"],))
asyncio.run(main())
"""


async def test_another_process_writes_at_the_same_time(db: Database, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "kgpud.sqlite3")]
    other = await asyncio.create_subprocess_exec(*command)
    while other.returncode is None:
        async with db.transaction() as tx:
            row = await tx.row("SELECT count(*) AS n FROM t")
            assert row is not None
            await put(tx, row["n"])
        await asyncio.sleep(0.001)
    assert other.returncode == 0
    found = await numbers(db)
    assert found == list(range(len(found)))
    assert len(found) > 100


async def test_two_processes_may_be_first(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    code = (
        "import asyncio, sys; from pathlib import Path; from store.db import Database\n"
        "async def main():\n"
        "    async with Database.open(Path(sys.argv[1])): pass\n"
        "asyncio.run(main())"
    )
    command = [sys.executable, "-c", code, str(path)]
    both = [await asyncio.create_subprocess_exec(*command) for _ in range(3)]
    assert [await one.wait() for one in both] == [0, 0, 0]


async def test_a_later_versions_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "later.sqlite3"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version = 999")
    with pytest.raises(migrate.TooNew):
        async with Database.open(path):
            pass


async def test_the_installation_keeps_its_name(db: Database) -> None:
    async with db.transaction() as tx:
        first = await installation.identify(tx, 1)
    async with db.transaction() as tx:
        assert await installation.identify(tx, 2) == first
