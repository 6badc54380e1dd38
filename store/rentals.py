"""Rows of rentals. Functions that change a rental's end or bill expect to run in a transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from store.conditions import where
from store.db import Connection, Row
from store.records import Phase, Rental

_SELECT = (
    "SELECT r.*, k.fingerprint FROM rentals r"
    " LEFT JOIN keys k ON k.pod_id = r.pod_id AND k.retired_at IS NULL"
)

# As `Rental.phase` says it.
_PHASE = (
    "CASE WHEN r.gone_at IS NOT NULL THEN 'Ended' WHEN r.failed THEN 'Failed'"
    " WHEN r.ended_at IS NOT NULL THEN 'Terminating'"
    " WHEN r.started_at IS NOT NULL THEN 'Running' ELSE 'Pending' END"
)


@dataclass(frozen=True, slots=True)
class Which:
    """Which rentals a list is of: None for any.

    `active` are those that have not ended, `before` a creation time and id that they come after
    in the list, a `limit` of -1 none.
    """

    account_id: str | None = None
    phase: Phase | None = None
    active: bool | None = None
    before: tuple[int, str] | None = None
    limit: int = -1


@dataclass(frozen=True, slots=True)
class End:
    """That a rental ended, when and why."""

    pod_id: str
    at: int
    reason: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Rentals whose pod is not gone: how many by phase, and credits per hour of those that run."""

    phases: Mapping[Phase, int]
    burn_per_hour: int


async def insert(conn: Connection, r: Rental) -> None:
    """Add a rental that was just asked for; its key is pinned apart."""
    await conn.run(
        "INSERT INTO rentals (pod_id, account_id, name, image, gpu_model, gpu_count, cpu, memory,"
        " ephemeral_storage_gib, price_per_hour, created_at, last_activity_at, pending_reason,"
        " key_generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            r.pod_id,
            r.account_id,
            r.name,
            r.image,
            r.gpu_model,
            r.gpu_count,
            r.cpu,
            r.memory,
            r.ephemeral_storage_gib,
            r.price_per_hour,
            r.created_at,
            r.last_activity_at,
            r.pending_reason,
            r.key_generation,
        ),
    )


async def get(conn: Connection, pod_id: str) -> Rental | None:
    """Return one rental, whoever's and however old."""
    row = await conn.row(f"{_SELECT} WHERE r.pod_id = ?", (pod_id,))
    return None if row is None else _rental(row)


async def newest(conn: Connection, which: Which) -> list[Rental]:
    """Return rentals, newest first."""
    there = which.phase not in (None, "Ended")
    asked, values = where(
        {
            "r.account_id = ?": (which.account_id,),
            f"{_PHASE} = ?": (which.phase,),
            "r.gone_at IS NULL": () if there else (None,),
            "r.ended_at IS NULL": () if which.active is True else (None,),
            "r.ended_at IS NOT NULL": () if which.active is False else (None,),
            "(r.created_at, r.pod_id) < (?, ?)": which.before or (None,),
        }
    )
    # Few are live, however many there were.
    few = "rentals_live" if which.active else "rentals_not_gone" if there else None
    select = _SELECT.replace("rentals r", f"rentals r INDEXED BY {few}") if few else _SELECT
    rows = await conn.rows(
        f"{select}{asked} ORDER BY r.created_at DESC, r.pod_id DESC LIMIT ?",
        [*values, which.limit],
    )
    return [_rental(row) for row in rows]


async def by_fingerprint(conn: Connection, fingerprint: str) -> Rental | None:
    """Return the live rental that this key is pinned to."""
    row = await conn.row(
        "SELECT r.*, k.fingerprint FROM keys k JOIN rentals r USING (pod_id)"
        " WHERE k.fingerprint = ? AND k.retired_at IS NULL AND r.ended_at IS NULL",
        (fingerprint,),
    )
    return None if row is None else _rental(row)


async def not_gone(conn: Connection) -> set[str]:
    """Return the id of every rental whose pod may still be there."""
    rows = await conn.rows("SELECT pod_id FROM rentals WHERE gone_at IS NULL")
    return {row["pod_id"] for row in rows}


async def not_started(conn: Connection, before: int) -> list[Rental]:
    """Return the live rentals asked for before a time whose container never ran."""
    rows = await conn.rows(
        f"{_SELECT} WHERE r.ended_at IS NULL AND r.started_at IS NULL"
        " AND r.created_at + r.stepped_ms < ?",
        (before,),
    )
    return [_rental(row) for row in rows]


async def unused(conn: Connection, since: int) -> list[Rental]:
    """Return the live rentals that run and that nobody has used since a time."""
    rows = await conn.rows(
        f"{_SELECT} WHERE r.ended_at IS NULL AND r.ran_since <= ?1 AND r.last_activity_at <= ?1",
        (since,),
    )
    return [_rental(row) for row in rows]


async def placed(conn: Connection) -> list[tuple[str, str]]:
    """Return id and node of each live rental whose pod has a node."""
    rows = await conn.rows(
        "SELECT pod_id, node FROM rentals WHERE ended_at IS NULL AND node IS NOT NULL"
    )
    return [(row["pod_id"], row["node"]) for row in rows]


async def some(conn: Connection, pod_ids: Iterable[str]) -> list[Rental]:
    """Return the rentals with these ids; unknown ids are passed over."""
    ids = list(pod_ids)
    found: list[Rental] = []
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        marks = ",".join("?" * len(part))
        rows = await conn.rows(f"{_SELECT} WHERE r.pod_id IN ({marks})", part)
        found += [_rental(row) for row in rows]
    return found


async def unswept(conn: Connection) -> list[Rental]:
    """Return the ended rentals whose pod and Secret the cluster was not yet told to delete."""
    rows = await conn.rows(f"{_SELECT} WHERE r.ended_at IS NOT NULL AND r.swept_at IS NULL")
    return [_rental(row) for row in rows]


async def in_use(conn: Connection, account_id: str) -> tuple[int, int]:
    """Return the account's GPUs in live rentals, and its live rentals without a GPU."""
    row = await conn.row(
        "SELECT coalesce(sum(gpu_count), 0) AS gpus, coalesce(sum(gpu_count = 0), 0) AS bare"
        " FROM rentals WHERE account_id = ? AND ended_at IS NULL",
        (account_id,),
    )
    assert row is not None
    return int(row["gpus"]), int(row["bare"])


async def standing(conn: Connection) -> Standing:
    """Return how many rentals are in which phase, and what they cost together."""
    rows = await conn.rows(
        f"SELECT {_PHASE} AS phase, count(*) AS count,"  # noqa: S608 - no value is in it
        " sum(price_per_hour * max(1, gpu_count)) AS rate"
        " FROM rentals r WHERE gone_at IS NULL GROUP BY phase"
    )
    burn = sum(row["rate"] for row in rows if row["phase"] == "Running")
    return Standing({row["phase"]: row["count"] for row in rows}, burn)


async def holding(conn: Connection, gpu_model: str) -> list[tuple[str, int]]:
    """Return id and GPU count of each rental of a class whose pod is, or may yet come, there."""
    rows = await conn.rows(
        "SELECT pod_id, gpu_count FROM rentals"
        " WHERE gone_at IS NULL AND gpu_model = ? AND gpu_count > 0",
        (gpu_model,),
    )
    return [(row["pod_id"], row["gpu_count"]) for row in rows]


async def acknowledge(conn: Connection, pod_id: str, now: int) -> None:
    """Note that it is certain since `now` whether the cluster took the pod."""
    await conn.run("UPDATE rentals SET create_acked_at = ? WHERE pod_id = ?", (now, pod_id))


async def set_generation(conn: Connection, pod_id: str, generation: int) -> None:
    """Note how often the rental's key was rotated, plus one."""
    await conn.run("UPDATE rentals SET key_generation = ? WHERE pod_id = ?", (generation, pod_id))


async def save_observed(conn: Connection, rentals: Sequence[Rental]) -> None:
    """Write what was seen of the pods; ends and bills are left alone."""
    await conn.run_many(
        "UPDATE rentals SET create_acked_at = ?, started_at = ?, ready_at = ?, finished_at = ?,"
        " ready = ?, node = ?, pending_reason = ?, stepped_before_start_ms = ? WHERE pod_id = ?",
        [
            (
                *(r.create_acked_at, r.started_at, r.ready_at, r.finished_at, r.ready, r.node),
                *(r.pending_reason, r.stepped_before_start_ms, r.pod_id),
            )
            for r in rentals
        ],
    )


async def step(conn: Connection, by_ms: int) -> None:
    """Note that our clock was set by so much: live rentals are no older, nor idle for longer.

    Those whose pods are not gone yet ended no longer ago.
    """
    await conn.run(
        "UPDATE rentals SET stepped_ms = stepped_ms + ?1, finished_at = finished_at + ?1,"
        " create_acked_at = create_acked_at + ?1, last_activity_at = last_activity_at + ?1"
        " WHERE ended_at IS NULL",
        (by_ms,),
    )
    await conn.run(
        "UPDATE rentals SET stepped_after_end_ms = stepped_after_end_ms + ?"
        " WHERE ended_at IS NOT NULL AND gone_at IS NULL",
        (by_ms,),
    )


async def save_gone(conn: Connection, pod_ids: Iterable[str], now: int) -> None:
    """Note that the pods of these rentals are gone; one that has not ended is passed over."""
    await conn.run_many(
        "UPDATE rentals SET gone_at = ?, ready = 0"
        " WHERE pod_id = ? AND gone_at IS NULL AND ended_at IS NOT NULL",
        [(now, pod_id) for pod_id in pod_ids],
    )


async def save_swept(conn: Connection, pod_id: str, now: int) -> None:
    """Note that the cluster was told to delete the rental's pod and Secret, and answered."""
    await conn.run("UPDATE rentals SET swept_at = ? WHERE pod_id = ?", (now, pod_id))


async def save_risen(conn: Connection, pod_ids: Iterable[str]) -> None:
    """Note that the pods of these ended rentals are there although they were deleted."""
    await conn.run_many(
        "UPDATE rentals SET swept_at = NULL WHERE pod_id = ? AND ended_at IS NOT NULL",
        [(pod_id,) for pod_id in pod_ids],
    )


async def end(conn: Connection, ends: Sequence[End], now: int) -> None:
    """End live rentals and retire their keys. Raises RuntimeError if one had ended already."""
    changed = await conn.run_many(
        "UPDATE rentals SET ended_at = ?, end_reason = ?, failed = ?, ready = 0"
        " WHERE pod_id = ? AND ended_at IS NULL",
        [(e.at, e.reason, e.failed, e.pod_id) for e in ends],
    )
    if ends and changed != len(ends):
        raise RuntimeError("a rental was ended twice")
    await conn.run_many(
        "UPDATE keys SET retired_at = ? WHERE pod_id = ? AND retired_at IS NULL",
        [(now, e.pod_id) for e in ends],
    )


def _rental(row: Row) -> Rental:
    values = dict(zip(row.keys(), row, strict=True))
    # Rental works it out by itself.
    del values["ran_since"]
    values["failed"] = bool(values["failed"])
    values["ready"] = bool(values["ready"])
    return Rental(**values)
