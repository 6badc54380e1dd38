"""One SQLite file: opening it, its two connections, and the one way to write.

aiosqlite runs every statement of a connection in order on that connection's thread. A cancelled
await therefore does not stop its statement, but whatever is sent next runs after it: a rollback
behind a cancelled write undoes it.
"""

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite

from store import migrate
from store.version import Version

BUSY_TIMEOUT_MS = 10_000

# What no program mends by trying again: the file is no database, or a broken one.
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

# What passes when space, rights or another process's lock come back; anything else is a bug.
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
    }
)

Row = sqlite3.Row
Value = str | int | bytes | None

# aiosqlite logs every statement's parameters at DEBUG, salts and hashes among them.
logging.getLogger("aiosqlite").setLevel(logging.WARNING)


class StoreUnavailable(Exception):
    """The database can't be read or written just now: disk full, read-only, or locked too long."""


class StoreDamaged(StoreUnavailable):
    """The file is no database, or part of it is none: a backup is what helps."""


class Connection:
    """What the functions of this package run their SQL on. Good only inside its `async with`."""

    def __init__(self, raw: aiosqlite.Connection) -> None:
        self._raw = raw
        self._closed = False

    def close(self) -> None:
        """Refuse further statements."""
        self._closed = True

    async def rows(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run a statement and return all its rows."""
        self._check_open()
        with _translated():
            return list(await self._raw.execute_fetchall(sql, parameters))

    async def row(self, sql: str, parameters: Sequence[Value] = ()) -> Row | None:
        """Run a statement and return its first row, if any."""
        found = await self.rows(sql, parameters)
        return found[0] if found else None

    async def run(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Run a statement that returns nothing; return how many rows it changed."""
        self._check_open()
        with _translated():
            return (await self._raw.execute(sql, parameters)).rowcount

    async def run_many(self, sql: str, parameters: Iterable[Sequence[Value]]) -> int:
        """Run a statement once per item, in one hop; return how many rows changed in all."""
        self._check_open()
        with _translated():
            return (await self._raw.executemany(sql, parameters)).rowcount

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("a connection was used after its transaction ended")


class _translated:  # noqa: N801 - reads as a statement; a class costs less than a generator here
    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, sqlite3.OperationalError):
            code = getattr(error, "sqlite_errorcode", None)
            if code is not None and code & 0xFF in _PASSING:
                raise StoreUnavailable(f"database: {error}") from error


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED:
            raise StoreDamaged(f"{path}: {error}") from error
        if code in _PASSING:
            raise StoreUnavailable(f"{path}: {error}") from error
        raise


class Database:
    """The open store of one process: one connection that writes, one that reads."""

    def __init__(
        self, writer: aiosqlite.Connection, reader: aiosqlite.Connection, version: Version
    ) -> None:
        self._writer = writer
        self._reader = Connection(reader)
        self._version = version
        self._lock = asyncio.Lock()
        self.closed = False

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator["Database"]:
        """Open the store at `path`, made with mode 0600 if missing, and bring it up to date.

        Raises migrate.TooNew if a later version of this program wrote it, StoreUnavailable if it
        can't be opened or is damaged, OSError.
        """
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        async with AsyncExitStack() as stack:
            with _opening(path):
                connect = partial(aiosqlite.connect, path, isolation_level=None)
                writer = await stack.enter_async_context(connect())
                await _prepare(writer)
                await migrate.apply(writer)
                reader = await stack.enter_async_context(connect())
                await _prepare(reader)
                await reader.execute("PRAGMA query_only = ON")
                watcher = sqlite3.connect(path, timeout=0, isolation_level=None)
                stack.enter_context(closing(watcher))
            opened = cls(writer, reader, Version(watcher))
            try:
                yield opened
            finally:
                opened.closed = True

    @staticmethod
    @asynccontextmanager
    async def snapshot(path: Path) -> AsyncIterator[Connection]:
        """Open the store at `path` to look only, while others may write it.

        Every statement sees the one state that it had when the first was run. Raises
        migrate.TooNew or TooOld, and StoreUnavailable where it can't be read.
        """
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with _opening(path):
            async with aiosqlite.connect(uri, uri=True, isolation_level=None) as raw:
                raw.row_factory = sqlite3.Row
                connection = Connection(raw)
                await connection.rows(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
                await connection.run("BEGIN")
                await migrate.check(raw)
                yield connection

    @staticmethod
    async def try_writing(path: Path) -> None:
        """Write to the store at `path` and take it back. Raises as `snapshot` does."""
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with _opening(path):
            async with aiosqlite.connect(uri, uri=True, isolation_level=None) as raw:
                connection = Connection(raw)
                await connection.rows("PRAGMA busy_timeout = 1000")
                await connection.run("BEGIN IMMEDIATE")
                await migrate.check(raw)
                await connection.run("UPDATE installation SET created_at = created_at")
                await raw.rollback()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Hold the one writer lock for a unit of work: commit at its end, roll back on any error.

        Whatever happens to the task, the lock is released only once the transaction is over, and
        it is over wholly or not at all. Raises StoreUnavailable; then nothing was written.
        """
        async with self._lock:
            self._check_open()
            connection = Connection(self._writer)
            try:
                await connection.run("BEGIN IMMEDIATE")
                yield connection
                connection.close()
                await _to_the_end(self._commit())
            except BaseException:
                connection.close()
                # Does nothing where the commit went through before its waiter was cancelled.
                await _to_the_end(self._writer.rollback())
                raise
            finally:
                self._version.committed()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Lend the read connection. Each statement sees the last commit; it can't write."""
        self._check_open()
        yield self._reader

    def version(self) -> int | None:
        """Return what is another number after each commit; None: it can't be told just now."""
        return None if self.closed else self._version.now()

    def _check_open(self) -> None:
        if self.closed:
            raise StoreUnavailable("database: another process has it now")

    async def _commit(self) -> None:
        with _translated():
            await self._writer.execute("COMMIT")


async def _prepare(connection: aiosqlite.Connection) -> None:
    connection.row_factory = sqlite3.Row
    await connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    await connection.execute("PRAGMA journal_mode = WAL")
    await connection.execute("PRAGMA foreign_keys = ON")
    # Money: a commit that was answered survives a power cut.
    await connection.execute("PRAGMA synchronous = FULL")


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` however often the waiter is cancelled meanwhile, then let the cancel through.

    It goes ahead of what `work` raises: who survives that would never end.
    """
    # Not a TaskGroup's: that would cancel its task with us. This one is awaited right here.
    task = asyncio.get_running_loop().create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from task.exception()
    task.result()
