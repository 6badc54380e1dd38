"""`GET /pods/{id}/logs`: what the pod's first process wrote, in part and as it comes."""

import asyncio

import aiohttp
import pytest

from .platform import Platform, User


async def writing(platform: Platform, *lines: str) -> tuple[User, str]:
    """Rent a pod and have its first process's output hold these lines."""
    user = await platform.user()
    pod = await platform.rent(user)
    await platform.ready(user, pod)
    await say(platform, user, pod, *lines)
    return user, pod


async def say(platform: Platform, user: User, pod: str, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    reply = await platform.exec(user, pod, ["sh", "-c", "cat >/proc/1/fd/1"], stdin=text)
    assert reply.body["exit_code"] == 0, reply.body


async def log(platform: Platform, user: User, pod: str, query: str = "") -> str:
    url = f"{platform.api.root}/v1/pods/{pod}/logs{query}"
    headers = {"Authorization": f"Bearer {user.token}"}
    async with aiohttp.request("GET", url, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        return await response.text()


async def test_a_log_whole_and_in_part(platform: Platform) -> None:
    user, pod = await writing(platform, "one", "two", "drei ü")
    async with asyncio.timeout(10):
        while "ü" not in await log(platform, user, pod):  # noqa: ASYNC110 - the cluster's state
            await asyncio.sleep(0.02)
    assert await log(platform, user, pod) == "one\ntwo\ndrei ü\n"
    assert await log(platform, user, pod, "?tail=2") == "two\ndrei ü\n"
    assert await log(platform, user, pod, "?tail=0") == ""
    assert await log(platform, user, pod, "?since=2100-01-01T00:00:00Z") == ""
    assert await log(platform, user, pod, "?since=2020-01-01T00:00:00.5%2B01:00&tail=1") != ""
    assert await log(platform, user, pod, "?since=3600") != ""


async def test_a_log_is_followed_until_the_pod_ends(platform: Platform) -> None:
    user, pod = await writing(platform, "one")
    url = f"{platform.api.root}/v1/pods/{pod}/logs?follow=true"
    headers = {"Authorization": f"Bearer {user.token}"}
    async with asyncio.timeout(30), aiohttp.request("GET", url, headers=headers) as response:
        assert await response.content.readline() == b"one\n"
        await say(platform, user, pod, "two")
        assert await response.content.readline() == b"two\n"
        await platform.api.call("DELETE", f"/v1/pods/{pod}", token=user.token)
        assert await response.content.read() == b""


async def test_a_followed_log_breaks_off_when_its_token_dies(platform: Platform) -> None:
    user, pod = await writing(platform, "one")
    url = f"{platform.api.root}/v1/pods/{pod}/logs?follow=true"
    headers = {"Authorization": f"Bearer {user.token}"}
    async with asyncio.timeout(30), aiohttp.request("GET", url, headers=headers) as response:
        assert await response.content.readline() == b"one\n"
        await platform.tokens.issue(user.account_id)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()


async def test_no_log_before_the_pod_runs_nor_after_it_is_gone(platform: Platform) -> None:
    user = await platform.user()
    pod = await platform.rent(user)
    path = f"/v1/pods/{pod}/logs"
    rental = await platform.show(user, pod)
    if rental["phase"] == "Pending":
        reply = await platform.api.call("GET", path, token=user.token)
        assert (reply.status, reply.code) == (409, "pod_not_ready")
    await platform.api.call("DELETE", f"/v1/pods/{pod}", token=user.token)
    async with asyncio.timeout(20):
        while (await platform.show(user, pod))["phase"] != "Ended":  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
    reply = await platform.api.call("GET", path, token=user.token)
    assert (reply.status, reply.code) == (409, "pod_ended")


REFUSED = [
    ("tail=-1", "tail"),
    ("tail=all", "tail"),
    ("since=0", "since"),
    ("since=-5", "since"),
    ("since=yesterday", "since"),
    ("since=2026-11-23", "since"),
    ("since=2026-11-23T25:00:00Z", "since"),
    ("since=2026-11-23T09:10:11", "since"),
    ("since=", "since"),
    ("follow=1", "follow"),
    ("timestamps=true", "timestamps"),
]


async def test_a_bad_query_names_the_parameter(platform: Platform) -> None:
    user = await platform.user()
    for query, field in REFUSED:
        path = f"/v1/pods/gpu-none-1-abcdef/logs?{query}"
        reply = await platform.api.call("GET", path, token=user.token)
        assert (reply.status, reply.fields) == (422, [field]), query
