"""The account's rentals: all of them, one of them, and its release."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import aclosing

from kgpud import podlogs
from kgpud.dashboard.visit import Answer, Page, Redirect, Visit
from kgpud.errors import Code, UserError
from kgpud.idle import idle_ms, release_at, warns
from store.records import Rental
from store.rentals import Which

_EVENTS = 50
_ENDED = 50
_LOG_LINES, _LOG_BYTES, _LOG_SECONDS = 500, 256 * 1024, 10.0


async def index(visit: Visit) -> Answer:
    """List the rentals: live ones first, then the ended ones, newest first, page by page."""
    mine, rentals = visit.account.account_id, visit.services.rentals
    before = _before(visit.form.get("before", ""))
    ended = await rentals.list(Which(mine, active=False, before=before, limit=_ENDED + 1))
    live = [] if before else await rentals.list(Which(mine, active=True))
    context = {"live": live, "ended": ended[:_ENDED], "more": len(ended) > _ENDED}
    return Page("pods.html", {**context, "older": before is not None})


def _before(text: str) -> tuple[int, str] | None:
    """Read where a page of the list begins: after this time of creation and id."""
    found = re.fullmatch(r"([0-9]{1,15})\.(.+)", text)
    return (int(found[1]), found[2]) if found else None


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
    rental = await _rental(visit)
    if rental.ended_at is not None:
        return Redirect(f"/pods/{rental.pod_id}")
    return Page("release.html", {"rental": rental})


async def release(visit: Visit) -> Answer:
    """Release a rental."""
    rental = await _rental(visit)
    await visit.services.rentals.release(visit.account.account_id, rental.pod_id)
    return Redirect(f"/pods/{rental.pod_id}")


async def choose_key(visit: Visit) -> Answer:
    """Ask for another key, and say what becomes of the old one."""
    rental = await _rental(visit)
    if rental.ended_at is not None:
        return Redirect(f"/pods/{rental.pod_id}")
    return _key_form(rental, "", {})


async def replace_key(visit: Visit) -> Answer:
    """Pin the key that was pasted, or a fresh one that is shown this once."""
    rental, given = await _rental(visit), visit.form.get("ssh_pubkey", "").strip()
    try:
        rotated = await visit.services.rentals.rotate(
            visit.account.account_id, rental.pod_id, given or None
        )
    except UserError as refused:
        if refused.field != "ssh_pubkey":
            raise
        return _key_form(rental, given, {"ssh_pubkey": refused.message})
    if rotated.private_key is None:
        return Redirect(f"/pods/{rental.pod_id}")
    return Page("minted.html", {"rental": rental, "private_key": rotated.private_key})


def _key_form(rental: Rental, given: str, errors: Mapping[str, str]) -> Page:
    context = {"rental": rental, "values": {"ssh_pubkey": given}, "errors": errors}
    return Page("key.html", context, 422 if errors else 200)


async def _rental(visit: Visit) -> Rental:
    return await visit.services.rentals.get(visit.account.account_id, visit.path["pod_id"])
