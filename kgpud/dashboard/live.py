"""A stream that says when a page is out of date; the page then loads its own new parts."""

import asyncio
from collections.abc import AsyncGenerator

from kgpud.dashboard.visit import Visit
from kgpud.rest.shapes.streams import HEARTBEAT, EventStream
from store.rentals import Which

# What costs move by, once a minute, is looked for at each beat.
_BEAT_SECONDS = 15.0
# Changes that come together are one.
_TOGETHER_SECONDS = 0.2
# An older rental has long ended.
_SHOWN = 20
_CHANGE = b"event: change\ndata:\n\n"


async def follow(visit: Visit) -> EventStream:
    """Follow the account: its rentals, its balance. Ends when the browser is signed out.

    What changed since the page was made (`told`) counts, too.
    """
    return EventStream(_chunks(visit))


async def _chunks(visit: Visit) -> AsyncGenerator[bytes, None]:
    changes = visit.services.rentals.changes
    before: object = None
    with changes.any() as changed:
        yield HEARTBEAT if visit.form.get("told") == str(changes.told) else _CHANGE
        while not changes.closed:
            changed.clear()
            seen = await _seen(visit)
            if seen is None:
                return
            if before not in (None, seen):
                yield _CHANGE
            before = seen
            try:
                await asyncio.wait_for(changed.wait(), _BEAT_SECONDS)
            except TimeoutError:
                yield HEARTBEAT
            else:
                await asyncio.sleep(_TOGETHER_SECONDS)


async def _seen(visit: Visit) -> object:
    """Return what pages of this account show, None once there is nobody to show it to."""
    account = await visit.site.sign_ins.account(visit.browser)
    if account is None or account.status != "approved":
        return None
    newest = await visit.services.rentals.list(Which(account.account_id, limit=_SHOWN))
    return account, newest, await visit.services.history.mark(account.account_id)
