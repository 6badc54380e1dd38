"""Rows of what maintainers and operators did to accounts and rentals: added, never changed."""

from collections.abc import Sequence

from store.conditions import where
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
    asked, values = where({"x.account_id = ?": (account_id,), "x.id < ?": (before,)})
    rows = await conn.rows(
        "SELECT x.*, a.email FROM actions x JOIN accounts a"  # noqa: S608 - no value is in it
        f" USING (account_id){asked} ORDER BY x.id DESC LIMIT ?",
        [*values, limit],
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
