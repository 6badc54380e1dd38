"""The number that changes with every commit, whoever made it."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from store import installation
from store.db import Database
from store.version import Version


async def test_each_commit_of_ours_is_seen_at_once(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "a.sqlite3") as db:
        seen = {db.version()}
        for now in range(1, 4):
            async with db.transaction() as tx:
                await installation.identify(tx, now)
                await tx.run("UPDATE installation SET created_at = ?", (now,))
            seen.add(db.version())
        assert len(seen) == 4
        assert None not in seen
        async with db.reading() as rx:
            await rx.rows("SELECT * FROM installation")
        with suppress(ZeroDivisionError):
            async with db.transaction() as tx:
                await tx.run("UPDATE installation SET created_at = 9")
                raise ZeroDivisionError
        assert db.version() in seen


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "b.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE t (a)")
    return path


def test_another_process_s_commit_is_seen_a_millisecond_later(file: Path) -> None:
    now = 0.0
    with (
        closing(sqlite3.connect(file, isolation_level=None)) as watcher,
        closing(sqlite3.connect(file, isolation_level=None)) as other,
    ):
        version = Version(watcher, lambda: now)
        before = version.now()
        other.execute("INSERT INTO t VALUES (1)")
        assert version.now() == before
        now += 0.001
        assert version.now() != before
        # Looking keeps nobody from folding the log into the database.
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


def test_what_cannot_be_told_is_none(file: Path) -> None:
    watcher = sqlite3.connect(file)
    watcher.close()
    assert Version(watcher).now() is None
