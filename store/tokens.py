"""Rows of account tokens: salted hashes, one of them live per account."""

from store import accounts
from store.db import Connection, Row
from store.records import Account, Token


async def replace(conn: Connection, token: Token) -> None:
    """Revoke the account's live token, if any, and add this one in its place."""
    await revoke(conn, token.account_id, token.created_at)
    await conn.run(
        "INSERT INTO tokens (token_id, account_id, salt, hash, created_at) VALUES (?, ?, ?, ?, ?)",
        (token.token_id, token.account_id, token.salt, token.hash, token.created_at),
    )


async def revoke(conn: Connection, account_id: str, now: int) -> bool:
    """Revoke the account's live token; False if it had none."""
    changed = await conn.run(
        "UPDATE tokens SET revoked_at = ? WHERE account_id = ? AND revoked_at IS NULL",
        (now, account_id),
    )
    return changed > 0


async def live(conn: Connection, account_id: str) -> Token | None:
    """Return the account's live token."""
    row = await conn.row(
        "SELECT *, created_at AS issued_at FROM tokens WHERE account_id = ? AND revoked_at IS NULL",
        (account_id,),
    )
    return None if row is None else _token(row)


async def find(conn: Connection, token_id: str) -> tuple[Token, Account] | None:
    """Return a token, revoked or not, and the account it belongs to."""
    row = await conn.row(
        "SELECT t.token_id, t.salt, t.hash, t.created_at AS issued_at, t.revoked_at, a.*"
        " FROM tokens t JOIN accounts a USING (account_id) WHERE t.token_id = ?",
        (token_id,),
    )
    if row is None:
        return None
    return _token(row), accounts.from_row(row)


def _token(row: Row) -> Token:
    return Token(
        token_id=row["token_id"],
        account_id=row["account_id"],
        salt=row["salt"],
        hash=row["hash"],
        created_at=row["issued_at"],
        revoked_at=row["revoked_at"],
    )
