"""Rows of transit objects. An object is live until it ended or its time is up."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from store.db import Connection, Row

ObjectState = Literal["pending", "ready", "expired", "deleted"]
ObjectEnd = Literal[
    "expired",
    "deleted",
    "object_too_large",
    "size_mismatch",
    "quota_exceeded",
    "checksum_mismatch",
    "rental_ended",
    "account_deleted",
    "lost",
]


@dataclass(frozen=True)
class TransitObject:
    """An object on its way through the object store.

    `held_bytes` counts against the account: the declared or reserved size until it is measured.
    `size_bytes` and `etag` are what was found in the store. `part_bytes` is the size of every
    part but the last, None for an object that comes in one piece. `gone_at` is when the store
    answered the deletion.
    """

    object_id: str
    account_id: str
    label: str
    created_at: int
    expires_at: int
    held_bytes: int
    declared_bytes: int | None
    sha256: str | None
    purge_on_release: bool
    part_bytes: int | None = None
    upload_id: str | None = None
    size_bytes: int | None = None
    etag: str | None = None
    ready_at: int | None = None
    ended_at: int | None = None
    end_reason: ObjectEnd | None = None
    gone_at: int | None = None

    def state(self, now: int) -> ObjectState:
        """Return what users see at a time."""
        if self.end_reason is not None and self.end_reason != "expired":
            return "deleted"
        if self.end_reason == "expired" or self.expires_at <= now:
            return "expired"
        return "pending" if self.ready_at is None else "ready"


@dataclass(frozen=True)
class Held:
    """What an account's live objects amount to."""

    count: int
    bytes: int


async def insert(conn: Connection, o: TransitObject) -> None:
    """Add an object that was just asked for: nothing of it is in the store yet."""
    await conn.run(
        "INSERT INTO objects (object_id, account_id, label, created_at, expires_at, held_bytes,"
        " declared_bytes, sha256, purge_on_release, part_bytes)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            o.object_id,
            o.account_id,
            o.label,
            o.created_at,
            o.expires_at,
            o.held_bytes,
            o.declared_bytes,
            o.sha256,
            o.purge_on_release,
            o.part_bytes,
        ),
    )


async def remove(conn: Connection, object_id: str) -> None:
    """Take an object back that nobody was told of."""
    await conn.run("DELETE FROM objects WHERE object_id = ?", (object_id,))


async def get(conn: Connection, object_id: str) -> TransitObject | None:
    """Return one object, whoever's, as long as its row is kept."""
    row = await conn.row("SELECT * FROM objects WHERE object_id = ?", (object_id,))
    return None if row is None else _object(row)


async def of_account(
    conn: Connection, account_id: str, before: tuple[int, str] | None, limit: int
) -> list[TransitObject]:
    """Return an account's objects, newest first: those after a place (created_at, id) in the list.

    Ended ones are among them as long as their rows are kept.
    """
    created_at, object_id = before or (None, None)
    rows = await conn.rows(
        "SELECT * FROM objects WHERE account_id = ?1"
        " AND (?2 IS NULL OR created_at < ?2 OR (created_at = ?2 AND object_id > ?3))"
        " ORDER BY created_at DESC, object_id LIMIT ?4",
        (account_id, created_at, object_id, limit),
    )
    return [_object(row) for row in rows]


async def live(conn: Connection, after: str, limit: int) -> list[TransitObject]:
    """Return everybody's objects that have not ended, those whose time is up included.

    By id, so many at a time: from the one that follows `after` on.
    """
    rows = await conn.rows(
        "SELECT * FROM objects WHERE ended_at IS NULL AND object_id > ? ORDER BY object_id LIMIT ?",
        (after, limit),
    )
    return [_object(row) for row in rows]


async def held(conn: Connection, account_id: str, now: int, but: str = "") -> Held:
    """Return what the account's live objects amount to, one of them (`but`) left out."""
    row = await conn.row(
        "SELECT count(*) AS number, coalesce(sum(held_bytes), 0) AS bytes FROM objects"
        " WHERE account_id = ? AND ended_at IS NULL AND expires_at > ? AND object_id <> ?",
        (account_id, now, but),
    )
    assert row is not None
    return Held(row["number"], row["bytes"])


async def set_upload(conn: Connection, object_id: str, upload_id: str | None) -> None:
    """Note under which id the store takes the object's parts."""
    await conn.run("UPDATE objects SET upload_id = ? WHERE object_id = ?", (upload_id, object_id))


async def measure(
    conn: Connection, object_id: str, size: int, etag: str, ready_at: int | None
) -> None:
    """Note what lies in the store, and whether it may be fetched."""
    await conn.run(
        "UPDATE objects SET size_bytes = ?1, held_bytes = ?1, etag = ?2, ready_at = ?3"
        " WHERE object_id = ?4 AND ended_at IS NULL",
        (size, etag, ready_at, object_id),
    )


async def end(conn: Connection, object_ids: Iterable[str], at: int, reason: ObjectEnd) -> int:
    """End live objects; return how many of them were live."""
    return await conn.run_many(
        "UPDATE objects SET ended_at = ?, end_reason = ? WHERE object_id = ? AND ended_at IS NULL",
        [(at, reason, object_id) for object_id in object_ids],
    )


async def end_all(conn: Connection, account_id: str, at: int) -> None:
    """End an account's live objects: the account is deleted."""
    await conn.run(
        "UPDATE objects SET ended_at = ?, end_reason = 'account_deleted'"
        " WHERE account_id = ? AND ended_at IS NULL",
        (at, account_id),
    )


async def past_due(conn: Connection, now: int) -> list[str]:
    """Return the ids of objects whose time is up and that have not ended."""
    rows = await conn.rows(
        "SELECT object_id FROM objects WHERE ended_at IS NULL AND expires_at <= ?", (now,)
    )
    return [row["object_id"] for row in rows]


async def left_by_rentals(conn: Connection) -> list[str]:
    """Return the ids of objects to purge: a rental ended since they were made, none is left."""
    rows = await conn.rows(
        "SELECT object_id FROM objects o WHERE ended_at IS NULL AND purge_on_release"
        " AND EXISTS (SELECT 1 FROM rentals r WHERE r.account_id = o.account_id"
        "  AND r.ended_at >= o.created_at)"
        " AND NOT EXISTS (SELECT 1 FROM rentals r WHERE r.account_id = o.account_id"
        "  AND r.ended_at IS NULL)"
    )
    return [row["object_id"] for row in rows]


async def not_gone(conn: Connection) -> list[TransitObject]:
    """Return the ended objects whose deletion the store has not answered yet."""
    rows = await conn.rows("SELECT * FROM objects WHERE ended_at IS NOT NULL AND gone_at IS NULL")
    return [_object(row) for row in rows]


async def save_gone(conn: Connection, object_id: str, now: int) -> None:
    """Note that the store has answered the deletion of an ended object."""
    await conn.run(
        "UPDATE objects SET gone_at = ? WHERE object_id = ? AND gone_at IS NULL", (now, object_id)
    )


async def forget(conn: Connection, before: int) -> int:
    """Drop the rows of objects that were gone before a time; return how many."""
    return await conn.run("DELETE FROM objects WHERE gone_at < ?", (before,))


def _object(row: Row) -> TransitObject:
    values = dict(zip(row.keys(), row, strict=True))
    values["purge_on_release"] = bool(values["purge_on_release"])
    return TransitObject(**values)
