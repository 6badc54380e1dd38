"""What maintainers do over REST: everything that the command line does."""

import pytest

from store.records import Session

from .maintainer import Maintainer
from .platform import Platform


async def test_an_account_from_its_first_day(platform: Platform, maintainer: Maintainer) -> None:
    added = await maintainer.done("POST", "/users", {"email": "ada+1@example.org"})
    assert (added["name"], added["role"], added["status"]) == ("ada+1", "user", "pending")
    assert (added["credits"], added["approved_at"]) == (0, None)
    approved = await maintainer.done("POST", "/users/ada+1@example.org/approve")
    assert (approved["status"], approved["credits"]) == ("approved", 100_000)
    token = (await maintainer.done("POST", f"/users/{added['user_id']}/token"))["token"]
    me = await platform.api.call("GET", "/v1/me", token=token)
    assert me.body["user_id"] == added["user_id"]
    shown = await maintainer.done("GET", "/users/ADA+1@example.org")
    assert shown == approved
    again = await maintainer.call("POST", "/users", {"email": "Ada+1@example.org"})
    assert (again.status, again.code, again.fields) == (409, "duplicate", ["email"])


@pytest.mark.parametrize("email", ["ada", "a b@example.org", "a@b@c", "a\n@example.org", "@@@"])
async def test_what_is_no_address_is_refused(maintainer: Maintainer, email: str) -> None:
    reply = await maintainer.call("POST", "/users", {"email": email})
    assert (reply.status, reply.fields) == (422, ["email"])


async def test_credits_go_both_ways_and_are_on_the_ledger(
    platform: Platform, maintainer: Maintainer
) -> None:
    user = await platform.user()
    path = f"/users/{user.email}/credits"
    line = await maintainer.done("POST", path, {"amount": 1500, "note": "thanks"})
    assert (line["kind"], line["balance_after"]) == ("topup", 101_500)
    assert (line["who"], line["note"]) == ("api:grace@example.org", "thanks")
    line = await maintainer.done("POST", path, {"amount": -500, "note": "too much"})
    assert (line["kind"], line["balance_after"]) == ("correction", 101_000)
    for body, field in (
        ({"amount": -101_001, "note": "x"}, "amount"),
        ({"amount": 0, "note": "x"}, "amount"),
        ({"amount": 10**13, "note": "x"}, "amount"),
        ({"amount": 1}, "note"),
        ({"amount": 1, "note": ""}, "note"),
    ):
        reply = await maintainer.call("POST", path, body)
        assert (reply.status, reply.fields) == (422, [field])
    balance = await platform.api.call("GET", "/v1/balance", token=user.token)
    assert balance.body["credits"] == 101_000


async def test_quota_and_role(platform: Platform, maintainer: Maintainer) -> None:
    user = await platform.user()
    changed = await maintainer.done("PATCH", f"/users/{user.email}", {"quota_gpus": 8})
    assert (changed["quota_gpus"], changed["role"]) == (8, "user")
    changed = await maintainer.done("PATCH", f"/users/{user.email}", {"quota_cpu_pods": 1})
    assert (changed["quota_gpus"], changed["quota_cpu_pods"]) == (8, 1)
    changed = await maintainer.done("PATCH", f"/users/{user.email}", {"role": "maintainer"})
    assert (changed["quota_gpus"], changed["role"]) == (8, "maintainer")
    me = (await platform.api.call("GET", "/v1/me", token=user.token)).body
    assert (me["role"], me["quota"]["gpus"]) == ("maintainer", 8)
    assert await maintainer.done("PATCH", f"/users/{user.email}", {}) == changed


async def test_a_suspended_account_keeps_its_pods_unless_told_otherwise(
    platform: Platform, maintainer: Maintainer
) -> None:
    user = await platform.user()
    pod = await platform.rent(user)
    suspended = await maintainer.done("POST", f"/users/{user.email}/suspend")
    assert suspended["status"] == "suspended"
    refused = await platform.api.call("GET", "/v1/pods", token=user.token)
    assert (refused.status, refused.code) == (401, "account_suspended")
    in_pod = await platform.api.call("GET", "/v1/me", token=platform.tokens.pod_token(pod))
    assert (in_pod.status, in_pod.code) == (401, "account_suspended")
    assert (await maintainer.done("GET", f"/pods/{pod}"))["end_reason"] is None
    back = await maintainer.done("POST", f"/users/{user.email}/reinstate")
    assert (back["status"], back["credits"]) == ("approved", 100_000)
    assert (await platform.show(user, pod))["ended_at"] is None
    await maintainer.done("POST", f"/users/{user.email}/suspend", {"release": True})
    assert (await maintainer.done("GET", f"/pods/{pod}"))["end_reason"] == "admin_released"
    twice = await maintainer.call("POST", f"/users/{maintainer.user.email}/reinstate")
    assert (twice.status, twice.code) == (409, "conflict")


async def test_nobody_locks_themselves_out(maintainer: Maintainer) -> None:
    me = maintainer.user.account_id
    for method, path, body in (
        ("POST", f"/users/{me}/suspend", None),
        ("PATCH", f"/users/{me}", {"role": "user"}),
    ):
        reply = await maintainer.call(method, path, body)
        assert (reply.status, reply.code) == (409, "conflict")


async def test_a_token_is_revoked(platform: Platform, maintainer: Maintainer) -> None:
    user = await platform.user()
    for revoked in (True, False):
        said = await maintainer.done("DELETE", f"/users/{user.email}/token")
        assert said == {"user_id": user.account_id, "revoked": revoked}
    reply = await platform.api.call("GET", "/v1/me", token=user.token)
    assert (reply.status, reply.code) == (401, "token_revoked")


async def test_everybodys_pods(platform: Platform, maintainer: Maintainer) -> None:
    ada, bob = await platform.user(), await platform.user()
    pods = [await platform.rent(user) for user in (ada, bob, ada)]
    listed = await maintainer.done("GET", "/pods")
    assert [(pod["pod_id"], pod["user_id"]) for pod in listed] == [
        (pods[2], ada.account_id),
        (pods[1], bob.account_id),
        (pods[0], ada.account_id),
    ]
    released = await maintainer.done("DELETE", f"/pods/{pods[2]}")
    assert released["end_reason"] == "admin_released"
    of_ada = await maintainer.done("GET", f"/pods?user={ada.email}&active=true")
    assert [pod["pod_id"] for pod in of_ada] == [pods[0]]
    nobody = await maintainer.call("GET", "/pods?user=nobody@example.org")
    assert (nobody.status, nobody.code) == (404, "not_found")
    first = await maintainer.call("GET", "/pods?limit=2")
    assert 'rel="next"' in first.headers["Link"]


async def test_users_are_listed_newest_first_in_pages(
    platform: Platform, maintainer: Maintainer
) -> None:
    ada, bob = await platform.user(approved=False), await platform.user()
    first = await maintainer.call("GET", "/users?limit=2")
    assert [user["email"] for user in first.body] == [bob.email, ada.email]
    rest = first.headers["Link"].partition("/v1/admin")[2].partition(">")[0]
    assert [user["email"] for user in await maintainer.done("GET", rest)] == ["grace@example.org"]
    pending = await maintainer.done("GET", "/users?status=pending")
    assert [user["email"] for user in pending] == [ada.email]


async def test_sessions(platform: Platform, maintainer: Maintainer) -> None:
    user = await platform.user()
    pod = await platform.rent(user)
    for number in range(3):
        platform.services.audit.opened(
            Session(
                session_id=f"s{number}",
                pod_id=pod,
                generation=1,
                fingerprint="SHA256:x",
                peer="203.0.113.7",
                client="OpenSSH",
                kind="shell",
                opened_at=1000 + number,
            )
        )
    await platform.services.audit.flush()
    first = await maintainer.call("GET", f"/sessions?limit=2&user={user.email}&open=true")
    assert [one["session_id"] for one in first.body] == ["s2", "s1"]
    rest = first.headers["Link"].partition("/v1/admin")[2].partition(">")[0]
    assert [one["session_id"] for one in await maintainer.done("GET", rest)] == ["s0"]
    assert (await maintainer.done("GET", "/sessions?pod_id=gpu-none")) == []
