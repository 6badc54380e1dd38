"""Numbered SQL files, applied once each, in a transaction each, in whichever process is first."""

import sqlite3
from collections.abc import Iterator
from importlib import resources

import aiosqlite


class TooNew(Exception):
    """The state file was written by a later version of this program."""


class TooOld(Exception):
    """The state file was written by an earlier version, and may not be brought up to date now."""


async def check(connection: aiosqlite.Connection) -> None:
    """Raise TooNew or TooOld unless the database is up to date. Changes nothing."""
    newest = len(_scripts())
    version = await _version(connection, newest)
    if version < newest:
        raise TooOld(
            f"the state is of version {version}: start the daemon, which brings it to {newest}"
        )


async def apply(connection: aiosqlite.Connection) -> None:
    """Bring the database up to date. Raises TooNew."""
    scripts = _scripts()
    while await _apply_next(connection, scripts):
        pass


async def _apply_next(connection: aiosqlite.Connection, scripts: list[str]) -> bool:
    if await _version(connection, len(scripts)) == len(scripts):
        return False
    await connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again: another process may have been faster to the lock.
        version = await _version(connection, len(scripts))
        if version < len(scripts):
            for statement in statements(scripts[version]):
                await connection.execute(statement)
            await connection.execute(f"PRAGMA user_version = {version + 1}")
        await connection.execute("COMMIT")
    except BaseException:
        await connection.rollback()
        raise
    return True


async def _version(connection: aiosqlite.Connection, newest: int) -> int:
    rows = await connection.execute_fetchall("PRAGMA user_version")
    version = int(next(iter(rows))[0])
    if version > newest:
        raise TooNew(f"the state is of version {version}, this kgpud knows only up to {newest}")
    return version


def _scripts() -> list[str]:
    folder = resources.files("store.migrations")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [f.read_text(encoding="utf-8") for f in files]


def statements(script: str) -> Iterator[str]:
    """Split a script where SQLite itself sees a statement's end (a trigger's body has its own)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if any(part and not part.startswith("--") for part in map(str.strip, statement.splitlines())):
        raise ValueError("a migration ends in the middle of a statement")
