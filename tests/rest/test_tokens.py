"""Who may call what."""

import pytest

from .platform import Platform

TABLE = [
    ("GET", "/v1/me"),
    ("GET", "/v1/balance"),
    ("GET", "/v1/cluster"),
    ("GET", "/v1/pods"),
    ("POST", "/v1/pods"),
    ("GET", "/v1/pods/gpu-rent-1-abcdef"),
    ("PATCH", "/v1/pods/gpu-rent-1-abcdef"),
    ("DELETE", "/v1/pods/gpu-rent-1-abcdef"),
    ("POST", "/v1/pods/gpu-rent-1-abcdef/exec"),
]


@pytest.mark.parametrize(("method", "path"), TABLE)
@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic a2dwdTo=", "Bearer nonsense", f"Bearer kgpu_{'a' * 48}"],
)
async def test_without_a_token_it_is_401(
    platform: Platform, method: str, path: str, header: str
) -> None:
    headers = {"Authorization": header} if header else {}
    reply = await platform.api.call(method, path, headers=headers)
    assert (reply.status, reply.code) == (401, "invalid_token")


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
        ("GET", "/v1/balance"),
        ("GET", "/v1/cluster"),
        ("GET", "/v1/pods"),
        ("POST", "/v1/pods"),
        ("PATCH", f"/v1/pods/{mine}"),
        ("POST", f"/v1/pods/{mine}/exec"),
        ("GET", f"/v1/pods/{other}"),
        ("DELETE", f"/v1/pods/{other}"),
        ("GET", "/v1/pods/gpu-none-1-abcdef"),
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
