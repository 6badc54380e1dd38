"""A rental's history over HTTP: listed, waited for, and followed as it happens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from .platform import Platform, User

_SECONDS = 20


@dataclass
class Stream:
    """A reader of server-sent events."""

    content: aiohttp.StreamReader

    async def next(self) -> dict[str, str] | None:
        """Return the next event, its fields by name, or None at the end; comments as ""."""
        found: dict[str, str] = {}
        async with asyncio.timeout(_SECONDS):
            while line := (await self.content.readline()).decode():
                if line == "\n":
                    return found
                name, _, value = line.rstrip("\n").partition(":")
                found[name] = value.strip()
        return None

    async def kinds(self) -> list[str]:
        """Return the kinds of all that comes until the end."""
        found = []
        while (one := await self.next()) is not None:
            found.append(one["event"])
        return found


@asynccontextmanager
async def following(
    platform: Platform, user: User, pod_id: str, seen: str | None = None
) -> AsyncIterator[Stream]:
    headers = [("Authorization", f"Bearer {user.token}")]
    # A list may come in several lines.
    headers += [("Accept", "text/event-stream"), ("Accept", "*/*;q=0.1")]
    if seen is not None:
        headers.append(("Last-Event-ID", seen))
    url = f"{platform.api.root}/v1/pods/{pod_id}/events"
    timeout = aiohttp.ClientTimeout(60)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, headers=headers) as response,
    ):
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield Stream(response.content)


async def listed(platform: Platform, user: User, pod_id: str, query: str = "") -> Any:
    path = f"/v1/pods/{pod_id}/events{query}"
    reply = await platform.api.call("GET", path, token=user.token)
    assert reply.status == 200, reply.body
    return reply.body


async def release(platform: Platform, user: User, pod_id: str) -> None:
    reply = await platform.api.call("DELETE", f"/v1/pods/{pod_id}", token=user.token)
    assert reply.status == 200


async def test_a_life_is_streamed_as_it_happens_and_listed_afterwards(platform: Platform) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user)
    async with following(platform, user, pod_id) as stream:
        first = await stream.next()
        assert first is not None
        assert (first["event"], first["id"]) == ("created", "1")
        while (one := await stream.next()) is not None and one["event"] != "ready":
            pass
        assert one is not None
        assert json.loads(one["data"])["kind"] == "ready"
        await platform.api.call("PATCH", f"/v1/pods/{pod_id}", token=user.token, body={})
        await release(platform, user, pod_id)
        assert await stream.kinds() == ["key_rotated", "ended"]
    events = await listed(platform, user, pod_id)
    kinds = [one["kind"] for one in events if one["kind"] != "pulling"]
    assert kinds == ["created", "scheduled", "started", "ready", "key_rotated", "ended"]
    assert [one["id"] for one in events] == list(range(1, len(events) + 1))
    assert events[-1]["detail"] == "returned"
    assert (await platform.show(user, pod_id))["node"] in {one["detail"] for one in events}
    # A page at a time, and a stream that goes on where the last one stopped.
    page = await listed(platform, user, pod_id, "?limit=2")
    assert page == events[:2]
    async with following(platform, user, pod_id, str(events[-3]["id"])) as again:
        assert await again.kinds() == ["key_rotated", "ended"]
    async with following(platform, user, pod_id, str(events[-1]["id"])) as after:
        assert await after.kinds() == []


async def test_who_waits_is_answered_as_soon_as_it_is_so(platform: Platform) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user)
    path = f"/v1/pods/{pod_id}"
    ready = await platform.api.call("GET", f"{path}?wait=ready&timeout=60", token=user.token)
    assert (ready.status, ready.body["ready"]) == (200, True)
    # Time that is up shows the rental as it is.
    still = await platform.api.call("GET", f"{path}?wait=ended&timeout=1", token=user.token)
    assert (still.status, still.body["phase"]) == (200, "Running")
    async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as group:
        waiting = [
            group.create_task(platform.api.call("GET", f"{path}?wait={what}", token=user.token))
            for what in ["ended"] * 50
        ]
        await asyncio.sleep(0)
        await release(platform, user, pod_id)
    assert {task.result().body["end_reason"] for task in waiting} == {"returned"}
    # What has ended will not become ready: nobody waits for that.
    async with asyncio.timeout(_SECONDS):
        ended = await platform.api.call("GET", f"{path}?wait=ready&timeout=300", token=user.token)
    assert ended.body["end_reason"] == "returned"


async def test_what_cannot_be_waited_for_is_said(platform: Platform) -> None:
    user, other = await platform.user(), await platform.user()
    pod_id = await platform.rent(user)
    for query, field in (
        ("wait=gone", "wait"),
        ("wait=ready&timeout=0", "timeout"),
        ("wait=ready&timeout=301", "timeout"),
        ("until=ready", "until"),
    ):
        reply = await platform.api.call("GET", f"/v1/pods/{pod_id}?{query}", token=user.token)
        assert (reply.status, reply.fields) == (422, [field])
    for path in (f"/v1/pods/{pod_id}?wait=ready", f"/v1/pods/{pod_id}/events"):
        assert (await platform.api.call("GET", path, token=other.token)).status == 404


async def test_a_stop_lets_everybody_go(platform: Platform) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user)
    await platform.ready(user, pod_id)
    path = f"/v1/pods/{pod_id}?wait=ended&timeout=300"
    async with following(platform, user, pod_id) as stream, asyncio.TaskGroup() as group:
        waiting = group.create_task(platform.api.call("GET", path, token=user.token))
        while (one := await stream.next()) is not None and one["event"] != "ready":
            pass
        await asyncio.sleep(0.05)  # for the other one to be waiting
        platform.rentals.changes.close()
        assert await stream.next() is None
        assert (await waiting).body["phase"] == "Running"


async def test_a_revoked_token_hears_nothing_more(platform: Platform) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user)
    await platform.ready(user, pod_id)
    waits = f"/v1/pods/{pod_id}?wait=ended&timeout=300"
    async with following(platform, user, pod_id) as stream, asyncio.TaskGroup() as group:
        waiting = group.create_task(platform.api.call("GET", waits, token=user.token))
        while (one := await stream.next()) is not None and one["event"] != "ready":
            pass
        await platform.tokens.issue(user.account_id)
        await platform.rentals.rotate(user.account_id, pod_id, None)
        assert await stream.next() is None
        await platform.rentals.release(user.account_id, pod_id)
        assert (await waiting).code == "token_revoked"
