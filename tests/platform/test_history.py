"""What happened to a rental is written with what made it happen, and wakes who follows it."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from kgpud.audit import Audit
from kgpud.history import History
from store import events, migrate
from store.db import Database
from store.records import Event, Session, SessionEnd
from tests.manual_clock import START_MS, ManualClock
from tests.platform.fake_api import FakeApi
from tests.platform.test_charging import runs
from tests.platform.test_reconcile import tick
from tests.platform.world import World, until, wish

_BEAT = 30.0


def words(found: Sequence[Event]) -> list[str]:
    return [f"{one.kind}({one.detail})" if one.detail else one.kind for one in found]


async def following(followed: AsyncGenerator[Sequence[Event], None]) -> Sequence[Event]:
    return await anext(followed)


async def all_of(world: World, pod_id: str) -> Sequence[Event]:
    return await History(world.db, world.rentals).after(pod_id, 0, 100)


async def rented(world: World) -> tuple[str, str]:
    account = (await world.account()).account_id
    return account, (await world.rentals.rent(account, wish())).rental.pod_id


async def test_each_step_of_a_life_is_told_once(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account, pod_id = await rented(world)
    await until(lambda: pod_id in world.view.pods)
    pod = api.pods[pod_id]
    conditions = [{"type": "PodScheduled", "status": "True"}]
    conditions.append({"type": "PodReadyToStartContainers", "status": "True"})
    pod["status"]["conditions"] = conditions
    for _ in range(3):
        api.apply("pods", "MODIFIED", pod)
    await until(lambda: world.view.pods[pod_id].pending_reason == "pulling")
    clock.advance(5)
    for ready in (False, True, False, True):
        api.run(pod_id, clock.now_ms(), ready=ready)
        await until(lambda is_it=ready: world.view.pods[pod_id].ready is is_it)  # type: ignore[misc]
    await world.rentals.rotate(account, pod_id, None)
    fingerprint = (await world.row(pod_id)).fingerprint
    clock.advance(5)
    await world.rentals.release(account, pod_id)
    await tick(world, clock)
    found = await all_of(world, pod_id)
    assert words(found) == [
        "created",
        "scheduled(n1)",
        "pulling(kgpu-pytorch:latest)",
        "started",
        "ready",
        f"key_rotated({fingerprint})",
        "ended(returned)",
    ]
    assert [one.seq for one in found] == list(range(1, 8))
    assert [(one.at - START_MS) // 1000 for one in found] == [0, 0, 0, 5, 5, 5, 10]


async def test_what_is_rolled_back_never_happened(still: World) -> None:
    _, pod_id = await running_since_now(still)
    with pytest.raises(RuntimeError):
        async with still.db.transaction() as tx:
            await tx.run(
                "UPDATE rentals SET ended_at = 1, end_reason = 'returned' WHERE pod_id = ?",
                (pod_id,),
            )
            await events.add(tx, [(pod_id, 1, "idle_warning", "720")])
            assert len(await events.after(tx, pod_id, 0, 10)) == 4
            raise RuntimeError("a bug")
    assert words(await all_of(still, pod_id)) == ["created", "started"]


async def running_since_now(world: World) -> tuple[str, str]:
    """Write a rental that runs; there is no cluster behind it."""
    account = (await world.account()).account_id
    await runs(world, account, "p1")
    return account, "p1"


async def test_sessions_are_told_with_their_rows(still: World, clock: ManualClock) -> None:
    account, pod_id = await running_since_now(still)
    audit = Audit(still.db, clock, kept_days=1, tell=still.rentals.changes.tell)
    history = History(still.db, still.rentals)
    session = Session("s1", pod_id, 1, "SHA256:x", "192.0.2.1", "OpenSSH", "shell", START_MS)
    async with aclosing(history.follow(account, pod_id, 2, _BEAT)) as followed:
        for _ in range(2):
            # What comes twice, as from an old bastion that asks a new core, is told once.
            audit.opened(session)
            await audit.flush()
        assert words(await anext(followed)) == ["session_opened(shell)"]
        audit.closed(SessionEnd("s1", START_MS + 9, 1, 2, 0, "exit"))
        async with asyncio.TaskGroup() as group:
            asleep = group.create_task(following(followed))
            await asyncio.sleep(0)
            await audit.flush()
        [closed] = asleep.result()
    assert (closed.kind, closed.detail, closed.session_id) == ("session_closed", "exit", "s1")


async def test_a_follower_hears_a_beat_while_nothing_happens(still: World) -> None:
    account, pod_id = await running_since_now(still)
    history = History(still.db, still.rentals)
    async with aclosing(history.follow(account, pod_id, 0, 0.01)) as followed:
        assert words(await anext(followed)) == ["created", "started"]
        assert [await anext(followed), await anext(followed)] == [(), ()]
    # Nobody is left in the book.
    assert not still.rentals.changes._waiting


async def test_old_events_of_ended_rentals_go_but_for_how_they_began_and_ended(
    still: World, clock: ManualClock
) -> None:
    account, pod_id = await running_since_now(still)
    await still.rentals.rotate(account, pod_id, None)
    await still.rentals.release(account, pod_id)
    async with still.db.transaction() as tx:
        assert await events.forget(tx, clock.now_ms(), 10) == 0
        assert await events.forget(tx, clock.now_ms() + 1, 10) == 2
    assert words(await all_of(still, pod_id)) == ["created", "ended(returned)"]


async def test_rentals_older_than_the_table_have_a_beginning_and_an_end(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    with sqlite3.connect(path) as old:
        for script in migrate._scripts()[:2]:
            old.executescript(script)
        old.execute("PRAGMA user_version = 2")
        old.execute(
            "INSERT INTO accounts (account_id, email, name, role, status, quota_gpus, created_at)"
            " VALUES ('a', 'a@example.org', 'a', 'user', 'approved', 4, 1)"
        )
        for pod_id, ended_at, reason in (("p1", None, None), ("p2", 9, "returned")):
            old.execute(
                "INSERT INTO rentals (pod_id, account_id, name, image, gpu_model, gpu_count, cpu,"
                " memory, ephemeral_storage_gib, price_per_hour, created_at, last_activity_at,"
                " ended_at, end_reason)"
                " VALUES (?, 'a', 'r', 'i', 'v100', 1, '1', '1Gi', 1, 1, 3, 3, ?, ?)",
                (pod_id, ended_at, reason),
            )
    old.close()
    async with Database.open(path) as db, db.reading() as rx:
        live, ended = [await events.after(rx, pod_id, 0, 9) for pod_id in ("p1", "p2")]
    assert (words(live), words(ended)) == (["created"], ["created", "ended(returned)"])
    assert [one.at for one in ended] == [3, 9]
