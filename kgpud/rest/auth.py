"""Who calls, and whether the route is for them."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

from aiohttp import web

from kgpud.clock import Clock
from kgpud.errors import Code, UserError
from kgpud.tokens import Caller
from store.db import StoreUnavailable

Admit = Callable[[], Awaitable[Caller | None]]

_WATCH_SECONDS = 1.0
_BEARER = re.compile(r"[!-~]{1,512}")


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


def bearer(request: web.Request) -> str:
    """Return the request's bearer token. Raises UserError with a 401 code."""
    given = request.headers.getall("Authorization", [])
    if len(given) > 1:
        # A proxy in front may have looked at another one of them.
        raise UserError(Code.INVALID_TOKEN, "there are several Authorization headers: send one")
    scheme, _, token = "".join(given).partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token:
        raise UserError(Code.INVALID_TOKEN, "send Authorization: Bearer and your token")
    # Headers may hold bytes that no token has and no hash function takes.
    if not _BEARER.fullmatch(token):
        raise UserError(Code.INVALID_TOKEN, "this is not a token of ours")
    return token


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
        "an in-pod token may read /me, use /objects, and read or release its own pod;"
        " use your account token",
    )


@asynccontextmanager
async def while_admitted(admit: Admit, clock: Clock) -> AsyncIterator[None]:
    """Run the block for as long as its caller is admitted: a token may be revoked meanwhile.

    Ends the block within a second of that, with the UserError that `admit` raises.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(_watch(admit, clock))
            yield
            watch.cancel()
    except BaseExceptionGroup as group:
        # The block's own error, or the watch's that ended it.
        raise group.exceptions[0] from None
    # What lasted longer than the core (`Call.lasts`) can't ask it, and was admitted until then.
    with contextlib.suppress(StoreUnavailable):
        await admit()


async def _watch(admit: Admit, clock: Clock) -> None:
    while True:
        await clock.sleep(_WATCH_SECONDS)
        try:
            await admit()
        except StoreUnavailable:
            # Nobody was turned away: it is asked again.
            continue
