"""Every route of the table, asked by everybody there is: who is let in, who is turned away and how.

Who may call what is written down here once more, from the product's reference: a route that the
table gives to the wrong callers is found. All calls carry a parameter that no route knows, so that
whoever is let in is refused for that, and nothing comes of a call.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from kgpud.errors import Code
from kgpud.rest.route import PATH_PARAMETERS, Route
from kgpud.rest.routes import ROUTES

from .document import DOCUMENT
from .platform import Platform, User

PUBLIC = {"GET /v1/gpu-models", "GET /v1/ssh-host-keys"}
OF_PODS = {
    "GET /v1/me",
    "GET /v1/pods/{pod_id}",
    "DELETE /v1/pods/{pod_id}",
    "GET /v1/pods/{pod_id}/events",
    "GET /v1/objects",
    "POST /v1/objects",
    "GET /v1/objects/{object_id}",
    "DELETE /v1/objects/{object_id}",
    "POST /v1/objects/{object_id}/complete",
}


@dataclass(frozen=True)
class Caller:
    """Whose token it is, and the pod that paths with one name."""

    token: str | None
    pod_id: str


Make = Callable[[Platform], Awaitable[Caller]]


async def account(platform: Platform, email: str = "ada@example.org") -> tuple[User, Caller]:
    user = await platform.user(email=email)
    return user, Caller(user.token, await platform.rent(user))


async def nobody(_platform: Platform) -> Caller:
    return Caller(None, "gpu-rent-1-abcdef")


async def misspelt(platform: Platform) -> Caller:
    _, caller = await account(platform)
    return Caller(f"{caller.token}x", caller.pod_id)


async def revoked(platform: Platform) -> Caller:
    user, caller = await account(platform)
    await platform.tokens.issue(user.account_id)
    return caller


async def pending(platform: Platform) -> Caller:
    user = await platform.user(approved=False)
    return Caller(user.token, "gpu-rent-1-abcdef")


async def suspended(platform: Platform) -> Caller:
    user, caller = await account(platform)
    await platform.accounts.suspend(user.account_id, "test")
    return caller


async def deleted(platform: Platform) -> Caller:
    user, caller = await account(platform)
    await platform.rentals.delete_account(user.account_id, "test")
    return caller


async def ordinary(platform: Platform) -> Caller:
    _, caller = await account(platform)
    return caller


async def maintainer(platform: Platform) -> Caller:
    user, caller = await account(platform, "grace@example.org")
    await platform.accounts.change(user.account_id, "test", role="maintainer")
    return caller


def pod_of(make: Make) -> Make:
    """Return what makes such an account call with the token inside its pod."""

    async def made(platform: Platform) -> Caller:
        caller = await make(platform)
        return Caller(platform.tokens.pod_token(caller.pod_id), caller.pod_id)

    return made


async def ended_pod(platform: Platform) -> Caller:
    user, caller = await account(platform)
    await platform.rentals.release(user.account_id, caller.pod_id)
    return Caller(platform.tokens.pod_token(caller.pod_id), caller.pod_id)


async def neighbour(platform: Platform) -> Caller:
    """Return a pod's token beside another pod of the same account."""
    user, caller = await account(platform)
    return Caller(platform.tokens.pod_token(caller.pod_id), await platform.rent(user))


def always(code: Code) -> Callable[[str], Code | None]:
    return lambda name: None if name in PUBLIC else code


def of_users(name: str) -> Code | None:
    return Code.FORBIDDEN_SCOPE if "/admin/" in name else None


def of_pods(name: str) -> Code | None:
    return None if name in PUBLIC | OF_PODS else Code.FORBIDDEN_SCOPE


def of_neighbours(name: str) -> Code | None:
    return Code.FORBIDDEN_SCOPE if "{pod_id}" in name else of_pods(name)


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        pytest.param(nobody, always(Code.INVALID_TOKEN), id="nobody"),
        pytest.param(misspelt, always(Code.INVALID_TOKEN), id="a misspelt token"),
        pytest.param(revoked, always(Code.TOKEN_REVOKED), id="a revoked token"),
        pytest.param(pending, always(Code.ACCOUNT_PENDING), id="a pending account"),
        pytest.param(suspended, always(Code.ACCOUNT_SUSPENDED), id="a suspended account"),
        pytest.param(pod_of(suspended), always(Code.ACCOUNT_SUSPENDED), id="its pod"),
        pytest.param(deleted, always(Code.TOKEN_REVOKED), id="a deleted account"),
        pytest.param(pod_of(deleted), always(Code.TOKEN_REVOKED), id="a deleted account's pod"),
        pytest.param(ended_pod, always(Code.TOKEN_REVOKED), id="an ended pod"),
        pytest.param(ordinary, of_users, id="an account"),
        pytest.param(maintainer, lambda _name: None, id="a maintainer"),
        pytest.param(pod_of(ordinary), of_pods, id="a pod"),
        pytest.param(pod_of(maintainer), of_pods, id="a maintainer's pod"),
        pytest.param(neighbour, of_neighbours, id="a pod beside it"),
    ],
)
async def test_who_may_call(
    platform: Platform,
    make: Make,
    refusal: Callable[[str], Code | None],
) -> None:
    caller = await make(platform)
    wrong = []
    for route in ROUTES:
        path = filled(route, caller.pod_id) + "?no-such-parameter=1"
        reply = await platform.api.call(route.method, path, token=caller.token, body={})
        let_in = reply.code == "validation_failed" and reply.fields == ["no-such-parameter"]
        if refusal(name(route)) != (None if let_in else reply.code):
            wrong.append((name(route), reply.code))
    assert wrong == []


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def filled(route: Route, pod_id: str) -> str:
    examples = {name: one.example for name, one in PATH_PARAMETERS.items()} | {"pod_id": pod_id}
    return re.sub(r"\{(\w+)\}", lambda match: examples[match[1]], route.path)


def test_the_description_tells_who_may_call() -> None:
    for route in ROUTES:
        described = DOCUMENT["paths"][route.path.removeprefix("/v1")][route.method.lower()]
        schemes = [] if name(route) in PUBLIC else ["accountToken"]
        schemes += ["inPodToken"] if name(route) in OF_PODS else []
        assert described["security"] == [{scheme: []} for scheme in schemes], name(route)
