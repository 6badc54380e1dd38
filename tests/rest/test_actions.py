"""What maintainers do to accounts and rentals is on record: all of it, once, and only that."""

from typing import Any

import pytest

from kgpud.rest.admin_routes import ADMIN_ROUTES
from kgpud.rest.route import Route
from store.records import Action

from .client import Reply
from .maintainer import Maintainer
from .platform import Platform, User

GRACE = "api:grace@example.org"
# A route that is added is among them, and fails until what it does is on record.
CHANGES = [
    pytest.param(route, id=route.operation_id) for route in ADMIN_ROUTES if route.method != "GET"
]


async def made_ready(platform: Platform, route: Route) -> tuple[User, dict[str, str]]:
    """Return an account that a route has something to change of, and values for its path."""
    user = await platform.user(approved=route.operation_id != "approve_user")
    if route.operation_id == "reinstate_user":
        await platform.accounts.suspend(user.email, "test")
    pod_id = await platform.rent(user) if "{pod_id}" in route.path else ""
    return user, {"user": user.email, "pod_id": pod_id}


async def called(maintainer: Maintainer, route: Route, path: dict[str, str]) -> Reply:
    body: Any = route.body.examples[0] if route.body else None
    where = route.path.removeprefix("/v1/admin").format(**path)
    return await maintainer.call(route.method, where, body)


async def on_record(platform: Platform, who: str = GRACE) -> list[Action]:
    return [done for done, _ in await platform.services.audit.actions(1000) if done.who == who]


async def state_of(platform: Platform) -> list[Any]:
    """Return whatever an action may change. What becomes of pods meanwhile is left out."""
    tables = ("accounts", "tokens", "ledger", "keys", "pod_id, ended_at FROM rentals")
    async with platform.db.reading() as rx:
        return [
            [tuple(row) for row in await rx.rows(f"SELECT {'' if ' ' in t else '* FROM '}{t}")]
            for t in tables
        ]


@pytest.mark.parametrize("route", CHANGES)
async def test_each_change_leaves_one_row(
    platform: Platform, maintainer: Maintainer, route: Route
) -> None:
    user, path = await made_ready(platform, route)
    before = await state_of(platform)
    reply = await called(maintainer, route, path)
    assert reply.status == 200, reply.body
    assert await state_of(platform) != before
    (done,) = await on_record(platform)
    if route.operation_id == "add_user":
        assert done.account_id == reply.body["user_id"]
    else:
        assert done.account_id == user.account_id
    assert done.pod_id == (path["pod_id"] or None)
    assert "kgpu_" not in done.detail


@pytest.mark.parametrize("route", CHANGES)
async def test_what_cannot_be_recorded_is_not_done(
    platform: Platform, maintainer: Maintainer, route: Route
) -> None:
    _, path = await made_ready(platform, route)
    async with platform.db.transaction() as tx:
        await tx.run(
            "CREATE TRIGGER no_room BEFORE INSERT ON actions BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    before = await state_of(platform)
    assert (await called(maintainer, route, path)).status == 500
    assert await state_of(platform) == before


async def test_what_fails_is_not_on_record(platform: Platform, maintainer: Maintainer) -> None:
    user = await platform.user()
    of_user, me = f"/users/{user.email}", f"/users/{maintainer.user.email}"
    for method, path, body, status in (
        ("POST", "/users", {"email": user.email}, 409),
        ("POST", f"{of_user}/credits", {"amount": -100_001, "note": "x"}, 422),
        ("POST", f"{of_user}/reinstate", None, 409),
        ("POST", f"{me}/suspend", None, 409),
        ("DELETE", me, None, 409),
        ("DELETE", "/pods/gpu-none", None, 404),
    ):
        assert (await maintainer.call(method, path, body)).status == status, (method, path)
    async with platform.db.transaction() as tx:
        await tx.run(
            "CREATE TRIGGER no_room BEFORE INSERT ON tokens BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    assert (await maintainer.call("POST", f"{of_user}/token")).status == 500
    assert await on_record(platform) == []


async def test_what_was_so_already_is_not_on_record(
    platform: Platform, maintainer: Maintainer
) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user)
    of_user = f"/users/{user.email}"
    twice = (
        ("POST", f"{of_user}/approve", None),
        ("PATCH", of_user, {"quota_gpus": 4, "role": "user"}),
        ("DELETE", f"/pods/{pod_id}", None),
        ("DELETE", f"{of_user}/token", None),
        ("POST", f"{of_user}/suspend", None),
        ("DELETE", of_user, None),
    )
    for method, path, body in twice:
        for _ in range(2):
            await maintainer.done(method, path, body)
    did = [done.action for done in await on_record(platform)]
    assert did == ["deleted", "suspended", "token_revoked", "released"]


async def test_what_owners_do_is_their_own_affair(platform: Platform) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user)
    before = await platform.services.audit.actions(1000)
    await platform.api.call("DELETE", f"/v1/pods/{pod_id}", token=user.token)
    await platform.tokens.issue(user.account_id)
    assert await platform.services.audit.actions(1000) == before


async def test_what_maintainers_do_for_themselves_is_on_record(
    platform: Platform, maintainer: Maintainer
) -> None:
    me = f"/users/{maintainer.user.email}"
    await maintainer.done("POST", f"{me}/credits", {"amount": 1, "note": "for me"})
    await maintainer.done("POST", f"{me}/token")
    done = await on_record(platform)
    assert [one.action for one in done] == ["token_issued", "credited"]
    assert {one.account_id for one in done} == {maintainer.user.account_id}


async def test_newest_first_in_pages_of_one_account(
    platform: Platform, maintainer: Maintainer
) -> None:
    ada, bob = await platform.user(approved=False), await platform.user()
    pod_id = await platform.rent(bob)
    await maintainer.done("POST", f"/users/{ada.email}/approve")
    await maintainer.done("POST", f"/users/{bob.email}/suspend", {"release": True})
    change = {"quota_gpus": 8, "role": "maintainer"}
    await maintainer.done("PATCH", f"/users/{ada.email}", change)
    await maintainer.done("POST", f"/users/{ada.email}/credits", {"amount": 5, "note": "thanks"})
    newest = await maintainer.done("GET", "/actions?limit=5")
    assert [(x["action"], x["email"], x["pod_id"], x["detail"]) for x in newest] == [
        ("credited", ada.email, None, "credits 100000 -> 100005"),
        ("changed", ada.email, None, "role user -> maintainer, quota_gpus 4 -> 8"),
        ("released", bob.email, pod_id, ""),
        ("suspended", bob.email, None, "status approved -> suspended"),
        ("approved", ada.email, None, "status pending -> approved, credits 0 -> 100000"),
    ]
    assert {one["who"] for one in newest} == {GRACE}
    of_ada = await maintainer.call("GET", f"/actions?limit=2&user={ada.email}")
    assert [one["action"] for one in of_ada.body] == ["credited", "changed"]
    rest = of_ada.headers["Link"].partition("/v1/admin")[2].partition(">")[0]
    # What happens between two pages moves no line.
    await maintainer.done("POST", f"/users/{ada.email}/suspend")
    older = await maintainer.done("GET", rest)
    assert [(one["action"], one["who"]) for one in older] == [
        ("approved", GRACE),
        ("added", "test"),
    ]
    nobody = await maintainer.call("GET", "/actions?user=nobody@example.org")
    assert (nobody.status, nobody.code) == (404, "not_found")
    plain = await platform.api.call("GET", "/v1/admin/actions", token=bob.token)
    assert plain.status in (401, 403)
