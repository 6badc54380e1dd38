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
    with changes.any() as changed:
        # In this order nothing that happens meanwhile is missed.
        before = await _seen(visit)
        yield _RETRY + _event(b"told", visit)
        while before is not None and not changes.closed:
            try:
                await asyncio.wait_for(changed.wait(), _BEAT_SECONDS)
            except TimeoutError:
                yield HEARTBEAT
            await asyncio.sleep(_TOGETHER_SECONDS)
            changed.clear()
            seen = await _seen(visit)
            if seen != before:
                yield _event(b"change", visit)
            before = seen


def _event(kind: bytes, visit: Visit) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind, visit.site.told().encode())


async def _seen(visit: Visit) -> object:
    """Return what pages of this account show, None once there is nobody to show it to."""
    account = await visit.site.sign_ins.account(visit.browser)
    if account is None or account.status != "approved":
        return None
    newest = await visit.services.rentals.list(Which(account.account_id, limit=_SHOWN))
    mine = account, newest, await visit.services.history.mark(account.account_id)
    catalog = visit.services.catalog
    # Maintainers see the whole house.
    house = visit.services.rentals.changes.told if account.role == "maintainer" else None
    return mine, house, catalog.menu(), catalog.fresh
