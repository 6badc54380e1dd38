"""Rows of accounts."""

from store.db import Connection, Row
from store.records import Account, AccountStatus, Role


async def insert(conn: Connection, account: Account) -> None:
    """Add an account. Its balance starts at 0 whatever the record says: money needs a line."""
    await conn.run(
        "INSERT INTO accounts (account_id, email, name, role, status, quota_gpus, quota_cpu_pods,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            account.account_id,
            account.email,
            account.name,
            account.role,
            account.status,
            account.quota_gpus,
            account.quota_cpu_pods,
            account.created_at,
        ),
    )


async def find(conn: Connection, email_or_id: str) -> Account | None:
    """Return the account with that e-mail address (case ignored) or id."""
    row = await conn.row(
        "SELECT * FROM accounts WHERE email = ?1 OR account_id = ?1", (email_or_id,)
    )
    return None if row is None else from_row(row)


async def every(conn: Connection, status: AccountStatus | None) -> list[Account]:
    """Return all accounts but deleted ones, or those of one status, oldest first."""
    rows = await conn.rows(
        "SELECT * FROM accounts"
        " WHERE iif(?1 IS NULL, deleted_at IS NULL,"
        "  iif(deleted_at IS NULL, status, 'deleted') = ?1)"
        " ORDER BY created_at, account_id",
        (status,),
    )
    return [from_row(row) for row in rows]


async def emails(conn: Connection) -> dict[str, str]:
    """Return the e-mail address of every account, deleted ones included, by its id."""
    rows = await conn.rows("SELECT account_id, email FROM accounts")
    return {row["account_id"]: row["email"] for row in rows}


async def newest(
    conn: Connection,
    limit: int,
    *,
    status: AccountStatus | None = None,
    before: tuple[int, str] | None = None,
) -> list[Account]:
    """Return accounts, newest first; those that come after a creation time and id in the list.

    Deleted ones are left out unless that status is asked for.
    """
    at, account_id = before or (None, None)
    rows = await conn.rows(
        "SELECT * FROM accounts"
        " WHERE iif(?1 IS NULL, deleted_at IS NULL,"
        "  iif(deleted_at IS NULL, status, 'deleted') = ?1)"
        " AND (?2 IS NULL OR (created_at, account_id) < (?2, ?3))"
        " ORDER BY created_at DESC, account_id DESC LIMIT ?4",
        (status, at, account_id, limit),
    )
    return [from_row(row) for row in rows]


async def set_role(conn: Connection, account_id: str, role: Role) -> None:
    """Set what the account may do beside renting."""
    await conn.run("UPDATE accounts SET role = ? WHERE account_id = ?", (role, account_id))


async def set_status(
    conn: Connection, account_id: str, status: AccountStatus, approved_at: int | None
) -> None:
    """Set the status, a deleted account's too; `approved_at` is kept once set."""
    await conn.run(
        "UPDATE accounts SET status = ?, deleted_at = NULL, approved_at = coalesce(approved_at, ?)"
        " WHERE account_id = ?",
        (status, approved_at, account_id),
    )


async def delete(conn: Connection, account_id: str, now: int) -> None:
    """Make it a deleted account."""
    await conn.run(
        "UPDATE accounts SET status = 'suspended', deleted_at = ? WHERE account_id = ?",
        (now, account_id),
    )


async def set_quota(
    conn: Connection, account_id: str, gpus: int | None, cpu_pods: int | None
) -> None:
    """Set what the account may rent at the same time; None leaves it as it is."""
    await conn.run(
        "UPDATE accounts SET quota_gpus = coalesce(?, quota_gpus),"
        " quota_cpu_pods = coalesce(?, quota_cpu_pods) WHERE account_id = ?",
        (gpus, cpu_pods, account_id),
    )


def from_row(row: Row) -> Account:
    """Read an account from a row that has all its columns."""
    return Account(
        account_id=row["account_id"],
        email=row["email"],
        name=row["name"],
        role=row["role"],
        status=row["status"] if row["deleted_at"] is None else "deleted",
        quota_gpus=row["quota_gpus"],
        quota_cpu_pods=row["quota_cpu_pods"],
        balance=row["balance"],
        created_at=row["created_at"],
        approved_at=row["approved_at"],
    )
