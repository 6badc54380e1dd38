"""Rows of sign-ins: identities at a provider, one-time links, browsers that are signed in."""

from store import accounts
from store.db import Connection
from store.records import Account


async def add_link(conn: Connection, link: bytes, account_id: str, expires_at: int) -> None:
    """Keep the hash of a link that signs in once."""
    await conn.run("INSERT INTO sign_in_links VALUES (?, ?, ?)", (link, account_id, expires_at))


async def take_link(conn: Connection, link: bytes, now: int) -> str | None:
    """Use a link up; return its account's id, or None where it is unknown, used or too old."""
    row = await conn.row(
        "DELETE FROM sign_in_links WHERE hash = ? AND expires_at > ? RETURNING account_id",
        (link, now),
    )
    return None if row is None else str(row["account_id"])


async def take_links_back(conn: Connection, account_id: str) -> None:
    """Let none of an account's links sign in any more."""
    await conn.run("DELETE FROM sign_in_links WHERE account_id = ?", (account_id,))


async def account_of_identity(conn: Connection, issuer: str, subject: str) -> str | None:
    """Return the id of the account that signed in as this before."""
    row = await conn.row(
        "SELECT account_id FROM identities WHERE issuer = ? AND subject = ?", (issuer, subject)
    )
    return None if row is None else str(row["account_id"])


async def has_identity(conn: Connection, issuer: str, account_id: str) -> bool:
    """Tell whether somebody signs in to this account through the issuer already."""
    row = await conn.row(
        "SELECT 1 FROM identities WHERE issuer = ? AND account_id = ?", (issuer, account_id)
    )
    return row is not None


async def add_identity(
    conn: Connection, issuer: str, subject: str, account_id: str, now: int
) -> None:
    """Bind a provider's subject to an account."""
    await conn.run("INSERT INTO identities VALUES (?, ?, ?, ?)", (issuer, subject, account_id, now))


async def begin(conn: Connection, browser: bytes, account_id: str, now: int) -> None:
    """Sign a browser in."""
    await conn.run("INSERT INTO sign_ins VALUES (?, ?, ?, ?)", (browser, account_id, now, now))


async def find(
    conn: Connection, browser: bytes, *, created_after: int, seen_after: int
) -> tuple[Account, int] | None:
    """Return whose browser it is and when it was last seen; None if its time is over."""
    row = await conn.row(
        "SELECT s.seen_at, a.* FROM sign_ins s JOIN accounts a USING (account_id)"
        " WHERE s.hash = ? AND s.created_at > ? AND s.seen_at > ?",
        (browser, created_after, seen_after),
    )
    return None if row is None else (accounts.from_row(row), row["seen_at"])


async def see(conn: Connection, browser: bytes, now: int) -> None:
    """Note that a browser was here."""
    await conn.run("UPDATE sign_ins SET seen_at = ? WHERE hash = ?", (now, browser))


async def end(conn: Connection, browser: bytes) -> None:
    """Sign a browser out."""
    await conn.run("DELETE FROM sign_ins WHERE hash = ?", (browser,))


async def end_all(conn: Connection, account_id: str) -> int:
    """Sign every browser of an account out; return how many there were."""
    return await conn.run("DELETE FROM sign_ins WHERE account_id = ?", (account_id,))


async def sweep(conn: Connection, now: int, *, created_before: int, seen_before: int) -> None:
    """Forget links and sign-ins whose time is over."""
    await conn.run("DELETE FROM sign_in_links WHERE expires_at <= ?", (now,))
    await conn.run(
        "DELETE FROM sign_ins WHERE created_at <= ? OR seen_at <= ?", (created_before, seen_before)
    )
