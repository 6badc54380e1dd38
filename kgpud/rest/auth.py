"""Who calls, and whether the route is for them."""

import re
from enum import StrEnum

from aiohttp import web

from kgpud.errors import Code, UserError
from kgpud.tokens import Caller, Tokens


class Access(StrEnum):
    """Who may call a route."""

    #: Anybody; a token is not even looked at.
    PUBLIC = "public"
    #: An account token.
    ACCOUNT = "account"
    #: An account token, or the in-pod token of any of the account's rentals.
    ANY_TOKEN = "any_token"  # noqa: S105 - not a secret
    #: An account token, or the in-pod token of the very rental that the path names.
    OWN_POD = "own_pod"
    #: The account token of a maintainer.
    MAINTAINER = "maintainer"


async def authenticate(request: web.Request, tokens: Tokens) -> Caller:
    """Return whose bearer token this is. Raises UserError with a 401 code."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    bearer = bearer.strip(" ")
    if scheme.lower() != "bearer" or not bearer:
        raise UserError(Code.INVALID_TOKEN, "send Authorization: Bearer and your token")
    # Headers may hold bytes that no token has and no hash function takes.
    if not re.fullmatch(r"[!-~]{1,512}", bearer):
        raise UserError(Code.INVALID_TOKEN, "this is not a token of ours")
    return await tokens.authenticate(bearer)


def authorize(access: Access, caller: Caller, pod_id: str | None) -> None:
    """Raise forbidden_scope if the token asks for more than it may."""
    if access is Access.MAINTAINER and caller.scope == "account":
        if caller.account.role != "maintainer":
            raise UserError(Code.FORBIDDEN_SCOPE, "this is for maintainers")
        return
    if caller.scope == "account" or access is Access.ANY_TOKEN:
        return
    if access is Access.OWN_POD and caller.pod_id == pod_id:
        return
    raise UserError(
        Code.FORBIDDEN_SCOPE,
        "an in-pod token may read /me and read or release its own pod; use your account token",
    )
