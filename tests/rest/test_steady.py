"""Answers that are kept are as good as fresh ones: whatever changes, the next one says so."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from .platform import Platform, User


async def shown(platform: Platform, user: User, pod: str) -> Any:
    """Ask twice, so that the second answer is one that was kept, and return it."""
    await platform.show(user, pod)
    return await platform.show(user, pod)


async def test_a_pod_is_shown_as_it_is_after_every_call(platform: Platform) -> None:
    user = await platform.user()
    pod = await platform.rent(user)
    await platform.ready(user, pod)
    before = await shown(platform, user, pod)
    path = f"/v1/pods/{pod}"
    rotated = (await platform.api.call("PATCH", path, token=user.token)).body
    after = await shown(platform, user, pod)
    assert after["ssh_access"]["fingerprint"] == rotated["ssh_access"]["fingerprint"]
    assert after["ssh_access"] != before["ssh_access"]
    await platform.rentals.activity.note(pod)
    used = await platform.show(user, pod)
    assert used["idle"]["last_activity_at"] > before["idle"]["last_activity_at"]
    await platform.api.call("DELETE", path, token=user.token)
    assert (await platform.show(user, pod))["end_reason"] == "returned"


async def test_the_menu_follows_the_fleet(platform: Platform) -> None:
    user = await platform.user()

    async def free() -> int:
        menu = (await platform.api.call("GET", "/v1/gpu-models")).body
        return sum(line["free"] for line in menu if line["gpu_model"] == "v100")

    assert [await free(), await free()] == [4, 4]
    await platform.rent(user, gpu_model="v100", gpu_count=3)
    assert await free() == 1


async def test_nobody_is_shown_what_another_account_was(platform: Platform) -> None:
    owner, other = await platform.user(), await platform.user()
    pod = await platform.rent(owner)
    await shown(platform, owner, pod)
    reply = await platform.api.call("GET", f"/v1/pods/{pod}", token=other.token)
    assert (reply.status, reply.code) == (404, "not_found")


async def test_what_another_process_wrote_is_seen(platform: Platform, tmp_path: Path) -> None:
    user = await platform.user()
    pod = await platform.rent(user)
    await shown(platform, user, pod)

    def write(sql: str) -> None:
        # On a connection of its own, from a thread: the daemon's needs the loop to let go of it.
        with closing(sqlite3.connect(tmp_path / "kgpud.sqlite3", isolation_level=None)) as other:
            other.execute(sql)

    await asyncio.to_thread(write, "UPDATE rentals SET name = 'renamed'")
    async with asyncio.timeout(5):
        while (await platform.show(user, pod))["name"] != "renamed":
            pass
    await asyncio.to_thread(write, "UPDATE tokens SET revoked_at = 1")
    async with asyncio.timeout(5):
        while (await platform.show(user, pod)).get("code") != "token_revoked":
            pass
