"""Rows of what maintainers and operators did to accounts and rentals: added, never changed."""

from collections.abc import Sequence

from store.db import Connection, Row
from store.records import Action, ActionKind


async def add(
    conn: Connection,
    action: ActionKind,
    who: str,
    account_id: str,
    detail: str = "",
    *,
    at: int,
    pod_id: str | None = None,
) -> None:
    """Put an action on record, in the transaction that does it. `detail` must hold no secret."""
    await conn.run(
        "INSERT INTO actions (at, who, action, account_id, pod_id, detail)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (at, who, action, account_id, pod_id, detail),
    )


async def newest(
    conn: Connection, limit: int, *, account_id: str | None = None, before: int | None = None
) -> Sequence[tuple[Action, str]]:
    """Return actions, newest first, each with the e-mail address of the account it was done to.

    They come after action `before` in the list, if that is given.
    """
    rows = await conn.rows(
        "SELECT x.*, a.email FROM actions x JOIN accounts a USING (account_id)"
        " WHERE (?1 IS NULL OR x.account_id = ?1) AND (?2 IS NULL OR x.id < ?2)"
        " ORDER BY x.id DESC LIMIT ?3",
        (account_id, before, limit),
    )
    return [(_action(row), str(row["email"])) for row in rows]


def _action(row: Row) -> Action:
    return Action(
        id=row["id"],
        at=row["at"],
        who=row["who"],
        action=row["action"],
        account_id=row["account_id"],
        pod_id=row["pod_id"],
        detail=row["detail"],
    )
