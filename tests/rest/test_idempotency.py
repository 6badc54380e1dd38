"""Idempotency-Key on POST /pods: sent twice, done once."""

import asyncio
import json
from typing import Any

import pytest

from kgpud.idempotency import KEPT_MS, Idempotency
from tests.manual_clock import ManualClock

from .client import Reply
from .platform import Platform, User

BODY = {"gpu_count": 0, "env": {"SECRET": "hunter2"}}


async def post(
    platform: Platform, user: User, key: str | None, body: Any = BODY, path: str = "/v1/pods"
) -> Reply:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await platform.api.call("POST", path, token=user.token, body=body, headers=headers)


async def count(platform: Platform, user: User) -> int:
    return len((await platform.api.call("GET", "/v1/pods", token=user.token)).body)


async def test_the_same_again_is_answered_the_same_and_done_once(platform: Platform) -> None:
    user = await platform.user()
    first = await post(platform, user, "k1")
    assert first.status == 200
    assert first.body["ssh_access"].pop("private_key")
    # However its JSON is spelt, and whatever became of the rental since.
    spelt = json.dumps({**BODY, "name": "rent"}, indent=2).encode()
    await platform.rentals.release(user.account_id, first.body["pod_id"])
    again = await platform.api.call(
        "POST", "/v1/pods", token=user.token, data=spelt, headers={"Idempotency-Key": "k1"}
    )
    assert (again.status, again.body) == (200, first.body)
    assert await count(platform, user) == 1
    # Neither the private key nor what was asked is kept.
    async with platform.db.reading() as rx:
        (row,) = await rx.rows("SELECT * FROM idempotency")
    assert "PRIVATE KEY" not in str(tuple(row))
    assert "hunter2" not in str(tuple(row))


async def test_without_a_key_or_with_another_it_is_done_again(platform: Platform) -> None:
    user, other = await platform.user(), await platform.user()
    for key in ("k1", "k2", None, None):
        assert (await post(platform, user, key)).status == 200
    assert await count(platform, user) == 4
    # Keys are the account's own.
    assert (await post(platform, other, "k1")).status == 200
    assert await count(platform, other) == 1


async def test_another_request_under_the_same_key_is_refused(platform: Platform) -> None:
    user = await platform.user()
    assert (await post(platform, user, "k1")).status == 200
    refused = await post(platform, user, "k1", {**BODY, "name": "other"})
    assert (refused.status, refused.code) == (422, "idempotency_mismatch")
    assert refused.fields == ["Idempotency-Key"]
    # The first is still answered.
    assert (await post(platform, user, "k1")).status == 200
    assert await count(platform, user) == 1


async def test_many_at_once_rent_one_pod(platform: Platform) -> None:
    user = await platform.user()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(post(platform, user, "k1")) for _ in range(20)]
    replies = [task.result() for task in tasks]
    assert {(reply.status, reply.code) for reply in replies} <= {
        (200, None),
        (409, "idempotency_in_flight"),
    }
    assert len({reply.body["pod_id"] for reply in replies if reply.status == 200}) == 1
    assert await count(platform, user) == 1


async def test_an_error_is_not_kept(platform: Platform) -> None:
    user = await platform.user(credits_left=0)
    assert (await post(platform, user, "k1")).code == "insufficient_credits"
    await platform.accounts.credit(user.email, 5000, who="test", note="")
    assert (await post(platform, user, "k1")).status == 200


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "ü", "tab\t!"])
async def test_what_is_no_key_is_refused(platform: Platform, key: str) -> None:
    user = await platform.user()
    reply = await post(platform, user, key)
    assert (reply.status, reply.fields) == (422, ["Idempotency-Key"])
    assert await count(platform, user) == 0


async def test_a_key_is_forgotten_after_a_day(platform: Platform) -> None:
    user = await platform.user()
    clock = ManualClock()
    keys = Idempotency(platform.db, clock)

    async def done(key: str) -> bool:
        async with keys.once(user.account_id, key, b"x") as once:
            if once.answer is not None:
                return False
            async with platform.db.transaction() as tx:
                await once.keep(tx, "{}")
            return True

    assert await done("k1")
    clock.advance(KEPT_MS / 1000)
    assert not await done("k1")
    assert await done("k2")
    clock.advance(1)
    assert await done("k1")
    async with platform.db.reading() as rx:
        assert len(await rx.rows("SELECT key FROM idempotency")) == 2
