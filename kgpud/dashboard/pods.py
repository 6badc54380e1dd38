"""The account's rentals: all of them, one of them, and its release."""

import asyncio
import re
from contextlib import aclosing

from kgpud import podlogs
from kgpud.dashboard.visit import Answer, Page, Redirect, Visit
from kgpud.errors import Code, UserError
from kgpud.idle import idle_ms, release_at, warns
from store.records import Rental
from store.rentals import Which

_EVENTS = 50
_LOG_LINES, _LOG_BYTES, _LOG_SECONDS = 500, 256 * 1024, 10.0


async def index(visit: Visit) -> Answer:
    """List the rentals, live ones first, then the ended ones, newest first."""
    found = await visit.services.rentals.list(Which(visit.account.account_id))
    live = [rental for rental in found if rental.ended_at is None]
    ended = [rental for rental in found if rental.ended_at is not None]
    return Page("pods.html", {"live": live, "ended": ended})


async def show(visit: Visit) -> Answer:
    """Show one rental."""
    rental = await _rental(visit)
    now = visit.services.clock.now_ms()
    return Page(
        "pod.html",
        {
            "rental": rental,
            "idle": idle_ms(rental, now),
            "warns": warns(rental, now, visit.services.life),
            "events": await visit.services.history.newest(rental.pod_id, _EVENTS),
            "release_at": release_at(rental, now, visit.services.life),
        },
    )


async def log(visit: Visit) -> Answer:
    """Show the end of the container's log."""
    rental = await _rental(visit)
    wanted = {"tailLines": str(_LOG_LINES), "limitBytes": str(_LOG_BYTES)}
    chunks = await podlogs.opened(visit.services.cluster, rental, wanted)
    try:
        async with aclosing(chunks), asyncio.timeout(_LOG_SECONDS):
            text = b"".join([chunk async for chunk in chunks]).decode("utf-8", "replace")
    except TimeoutError:
        raise UserError(Code.CLUSTER_UNREACHABLE, "the cluster does not send the log") from None
    return Page("log.html", {"rental": rental, "text": text, "lines": _LOG_LINES})


async def confirm_release(visit: Visit) -> Answer:
    """Say what is lost, before it is."""
    return Page("release.html", {"rental": await _rental(visit)})


async def release(visit: Visit) -> Answer:
    """Release a rental."""
    rental = await _rental(visit)
    await visit.services.rentals.release(visit.account.account_id, rental.pod_id)
    return Redirect(f"/pods/{rental.pod_id}")


async def _rental(visit: Visit) -> Rental:
    pod_id = visit.path["pod_id"]
    if not re.fullmatch(r"[a-z0-9-]{1,100}", pod_id):
        raise UserError(Code.NOT_FOUND, "there is no such pod")
    return await visit.services.rentals.get(visit.account.account_id, pod_id)
