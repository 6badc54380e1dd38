"""Deleting an account, by a maintainer."""

import pytest

from kgpud.errors import Code, UserError
from kgpud.signin import Identity, SignIns

from .platform import Platform


async def test_a_deleted_account(platform: Platform) -> None:
    boss = await platform.user(email="grace@example.org")
    await platform.accounts.change(boss.account_id, "test", role="maintainer")
    user = await platform.user()
    pod = await platform.rent(user)
    path = f"/v1/admin/users/{user.email}"
    first = await platform.api.call("DELETE", path, token=boss.token)
    assert (first.status, first.body["status"]) == (200, "deleted")
    again = await platform.api.call("DELETE", path, token=boss.token)
    assert (again.status, again.body) == (200, first.body)
    for token in (user.token, platform.tokens.pod_token(pod)):
        refused = await platform.api.call("GET", "/v1/me", token=token)
        assert (refused.status, refused.code) == (401, "token_revoked")
    ended = await platform.api.call("GET", f"/v1/admin/pods/{pod}", token=boss.token)
    assert ended.body["end_reason"] == "admin_released"
    for call, body in (
        ("approve", None),
        ("suspend", None),
        ("token", None),
        ("credits", {"amount": 1, "note": "x"}),
    ):
        reply = await platform.api.call("POST", f"{path}/{call}", token=boss.token, body=body)
        assert (reply.status, reply.code) == (409, "conflict"), call
    listed = await platform.api.call("GET", "/v1/admin/users", token=boss.token)
    assert [one["email"] for one in listed.body] == [boss.email]
    gone = await platform.api.call("GET", "/v1/admin/users?status=deleted", token=boss.token)
    assert [one["email"] for one in gone.body] == [user.email]
    own = await platform.api.call("DELETE", f"/v1/admin/users/{boss.email}", token=boss.token)
    assert (own.status, own.code) == (409, "conflict")
    new = {"email": user.email}
    taken = await platform.api.call("POST", "/v1/admin/users", token=boss.token, body=new)
    assert taken.code == "duplicate"
    back = await platform.api.call("POST", f"{path}/reinstate", token=boss.token)
    assert (back.body["status"], back.body["credits"]) == ("approved", 100_000)
    await platform.accounts.approve(user.account_id, "test")
    assert (await platform.accounts.find(user.account_id)).balance == 100_000
    refused = await platform.api.call("GET", "/v1/me", token=user.token)
    assert refused.code == "token_revoked"


async def test_nobody_signs_in_to_a_deleted_account(platform: Platform) -> None:
    services = platform.services
    user = await platform.user()
    sign_ins = SignIns(platform.db, services.clock, services.accounts)
    links = [await sign_ins.link(user.email, "test") for _ in range(2)]
    browser = await sign_ins.by_link(links[0])
    assert await sign_ins.account(browser) is not None
    await services.rentals.delete_account(user.account_id, "test")
    assert await sign_ins.account(browser) is None
    for way in (
        sign_ins.by_link(links[1]),
        sign_ins.by_identity(Identity("https://issuer", "1", user.email, "Ada")),
    ):
        with pytest.raises(UserError) as refused:
            await way
        assert refused.value.code is Code.SIGN_IN_FAILED
    # Nor do old ways in come back with the account.
    link = await sign_ins.link(other := (await platform.user()).email, "test")
    await services.rentals.delete_account(other, "test")
    await services.accounts.reinstate(other, "test")
    with pytest.raises(UserError, match="used already"):
        await sign_ins.by_link(link)
