"""Who may call what."""

import asyncio
import re
from dataclasses import replace

import pytest
from multidict import CIMultiDict

from .platform import Platform


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic a2dwdTo=", "Bearer nonsense", f"Bearer kgpu_{'a' * 48}"],
)
async def test_without_a_token_it_is_401(platform: Platform, header: str) -> None:
    headers = {"Authorization": header} if header else {}
    reply = await platform.api.call("GET", "/v1/me", headers=headers)
    assert (reply.status, reply.code) == (401, "invalid_token")


async def test_two_tokens_are_none(platform: Platform) -> None:
    user = await platform.user()
    for other in (user.token, "nonsense"):
        headers = CIMultiDict({"Authorization": f"Bearer {user.token}"})
        headers.add("Authorization", f"Bearer {other}")
        async with platform.api.session.get(f"{platform.api.root}/v1/me", headers=headers) as one:
            assert one.status == 401


async def test_a_typo_is_told_from_a_dead_token_without_the_database(platform: Platform) -> None:
    user = await platform.user()
    await platform.break_the_database()
    last = "a" if user.token[-1] != "a" else "b"
    middle = "a" if user.token[20] != "a" else "b"
    for typo in (
        user.token[:-1] + last,
        user.token[:-1],
        user.token + "a",
        user.token[:20] + middle + user.token[21:],
        user.token[:20] + user.token[21] + user.token[20] + user.token[22:],
    ):
        reply = await platform.api.call("GET", "/v1/me", token=typo)
        assert (reply.status, reply.code) == (401, "invalid_token")
        assert "misspelt" in reply.body["detail"]
    assert (await platform.api.call("GET", "/v1/me", token=user.token)).status == 500


async def test_a_token_is_what_secret_scanners_look_for(platform: Platform) -> None:
    user = await platform.user()
    assert re.fullmatch(r"kgpu_[0-9A-Za-z]{48}", user.token)
    pod = platform.tokens.pod_token(await platform.rent(user))
    assert re.fullmatch(r"kgpu_pod_[a-z0-9-]+\.[A-Za-z0-9_-]{43}", pod)


async def test_the_menu_needs_no_token_and_ignores_a_bad_one(platform: Platform) -> None:
    for token in (None, "nonsense"):
        reply = await platform.api.call("GET", "/v1/gpu-models", token=token)
        assert reply.status == 200


async def test_a_reissued_token_kills_the_old_one(platform: Platform) -> None:
    user = await platform.user()
    again = await platform.tokens.issue(user.account_id)
    old = await platform.api.call("GET", "/v1/me", token=user.token)
    assert (old.status, old.code) == (401, "token_revoked")
    assert (await platform.api.call("GET", "/v1/me", token=again)).status == 200


async def test_pending_and_suspended_accounts_are_told_so(platform: Platform) -> None:
    user = await platform.user(approved=False)
    reply = await platform.api.call("GET", "/v1/me", token=user.token)
    assert (reply.status, reply.code) == (401, "account_pending")
    await platform.accounts.approve(user.account_id, "test")
    assert (await platform.api.call("GET", "/v1/me", token=user.token)).status == 200
    await platform.accounts.suspend(user.account_id, "test")
    reply = await platform.api.call("GET", "/v1/me", token=user.token)
    assert (reply.status, reply.code) == (401, "account_suspended")


async def test_what_an_in_pod_token_may(platform: Platform) -> None:
    user = await platform.user()
    mine, other = await platform.rent(user), await platform.rent(user)
    token = platform.tokens.pod_token(mine)
    me = await platform.api.call("GET", "/v1/me", token=token)
    assert (me.status, me.body["user_id"]) == (200, user.account_id)
    assert (await platform.api.call("GET", f"/v1/pods/{mine}", token=token)).status == 200
    refused = [
        ("PATCH", f"/v1/pods/{mine}"),
        ("POST", f"/v1/pods/{mine}/exec"),
        ("GET", f"/v1/pods/{other}"),
        ("DELETE", f"/v1/pods/{other}"),
    ]
    for method, path in refused:
        reply = await platform.api.call(method, path, token=token)
        assert (reply.status, reply.code) == (403, "forbidden_scope"), (method, path)
    released = await platform.api.call("DELETE", f"/v1/pods/{mine}", token=token)
    assert (released.status, released.body["end_reason"]) == (200, "returned")
    dead = await platform.api.call("GET", "/v1/me", token=token)
    assert (dead.status, dead.code) == (401, "token_revoked")


async def test_a_forged_in_pod_token_is_401(platform: Platform) -> None:
    user = await platform.user()
    pod = await platform.rent(user)
    token = platform.tokens.pod_token(pod)
    for forged in (
        token[:-1] + ("a" if token[-1] != "a" else "b"),
        f"kgpu_pod_{pod}",
        "kgpu_pod_.",
    ):
        reply = await platform.api.call("GET", "/v1/me", token=forged)
        assert (reply.status, reply.code) == (401, "invalid_token")


async def test_another_accounts_pod_is_404(platform: Platform) -> None:
    owner, other = await platform.user(), await platform.user()
    pod = await platform.rent(owner)
    for method, path in (
        ("GET", f"/v1/pods/{pod}"),
        ("PATCH", f"/v1/pods/{pod}"),
        ("DELETE", f"/v1/pods/{pod}"),
        ("POST", f"/v1/pods/{pod}/exec"),
    ):
        body = {"cmd": ["true"]} if path.endswith("exec") else None
        reply = await platform.api.call(method, path, token=other.token, body=body)
        assert (reply.status, reply.code) == (404, "not_found")
    assert (await platform.api.call("GET", "/v1/pods", token=other.token)).body == []


@pytest.mark.parametrize("how", ["reissued", "suspended"])
async def test_an_exec_under_way_ends_with_its_token(platform: Platform, how: str) -> None:
    user = await platform.user()
    pod = await platform.rent(user)
    await platform.ready(user, pod)

    async def says(command: str) -> str:
        return str((await platform.exec(user, pod, ["sh", "-c", command])).body["stdout"])

    cmd = ["sh", "-c", "echo $$ >/tmp/pid; exec sleep 300"]
    running = asyncio.get_running_loop().create_task(platform.exec(user, pod, cmd))
    async with asyncio.timeout(20):
        pid = await says("until [ -s /tmp/pid ]; do sleep 0.02; done; cat /tmp/pid")
        if how == "reissued":
            token = await platform.tokens.issue(user.account_id)
            user = replace(user, token=token)
        else:
            await platform.accounts.suspend(user.account_id, "test")
        reply = await running
        assert (reply.status, reply.code) == (401, CODES[how])
        if how == "suspended":
            await platform.accounts.reinstate(user.account_id, "test")
        # The command went with it.
        assert await says(f"while kill -0 {pid.strip()} 2>&-; do sleep 0.02; done; echo") == "\n"


CODES = {"reissued": "token_revoked", "suspended": "account_suspended"}
