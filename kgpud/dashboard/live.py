"""A stream that says when a page is out of date; the page then loads its own new parts."""

import asyncio
from collections.abc import AsyncGenerator

from kgpud.dashboard.visit import Visit
from kgpud.rest.shapes.streams import HEARTBEAT, EventStream
from store.rentals import Which

# What costs move by, once a minute, is looked for at each beat.
_BEAT_SECONDS = 15.0
# Changes that come together are one.
_TOGETHER_SECONDS = 0.3
# An older rental has long ended.
_SHOWN = 20
# How soon a browser comes back after the stream's end, as at a reload of the daemon.
_RETRY = b"retry: 1000\n"


async def follow(visit: Visit) -> EventStream:
    """Follow the account: its rentals, its balance. Ends when the browser is signed out.

    It begins with a mark, which is the page's own (`told`) if nothing has changed since.
    """
    return EventStream(_chunks(visit))


async def _chunks(visit: Visit) -> AsyncGenerator[bytes, None]:
    changes = visit.services.rentals.changes
    beat, house = _beat(), changes.told
    with changes.any() as changed:
        # In this order nothing that happens meanwhile is missed.
        before = await _seen(visit, house)
        yield _RETRY + _event(b"told", visit)
        while before is not None and not changes.closed:
            if await _waited(changed, beat):
                await asyncio.sleep(_TOGETHER_SECONDS)
            else:
                yield HEARTBEAT
                beat, house = _beat(), changes.told
            changed.clear()
            seen = await _seen(visit, house)
            if seen != before:
                yield _event(b"change", visit)
            before = seen


def _beat() -> float:
    return asyncio.get_running_loop().time() + _BEAT_SECONDS


async def _waited(changed: asyncio.Event, until: float) -> bool:
    """Wait for a change; return False if it is time to look without one."""
    if asyncio.get_running_loop().time() >= until:
        return False
    try:
        async with asyncio.timeout_at(until):
            await changed.wait()
    except TimeoutError:
        return False
    return True


def _event(kind: bytes, visit: Visit) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind, visit.site.told().encode())


async def _seen(visit: Visit, house: int) -> object:
    """Return what pages of this account show, None once there is nobody to show it to.

    Maintainers see everybody's rentals, whose changes `house` counts, and who waits for approval.
    """
    account = await visit.site.sign_ins.account(visit.browser, in_use=False)
    if account is None or account.status != "approved":
        return None
    newest = await visit.services.rentals.list(Which(account.account_id, limit=_SHOWN))
    mark = await visit.services.history.mark(account.account_id)
    mine = account, newest, mark, visit.services.catalog.nodes(), visit.services.catalog.fresh
    if account.role != "maintainer":
        return mine
    return mine, house, await visit.services.accounts.list("pending")
