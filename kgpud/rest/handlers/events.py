"""A rental's history, as a list or as it happens."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from kgpud.clock import rfc3339
from kgpud.errors import UserError
from kgpud.rest.auth import Admit
from kgpud.rest.call import Call
from kgpud.rest.route import Parameter
from kgpud.rest.shapes import events as shapes
from kgpud.rest.shapes.pages import Page, PageQuery, page
from kgpud.rest.shapes.streams import HEARTBEAT, EventStream, event
from store.records import Event

# Proxies cut what is silent for a minute; some for half of one.
_BEAT_SECONDS = 15.0

ACCEPT = Parameter("Accept", "[ -~]*", "a media type", "`text/event-stream` for a stream.")
LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "[0-9]{1,15}",
    "an event's id",
    "Stream only what follows this event; `EventSource` sends it when it comes back.",
)


async def list_events(call: Call[None, PageQuery]) -> Page[shapes.Event] | EventStream:
    """List what happened to a rental, oldest first, or stream it.

    With `Accept: text/event-stream` the answer is a stream of server-sent events that ends after
    `ended`; comments keep it alive. Come back with `Last-Event-ID` to miss nothing.
    """
    services, query = call.services, call.query
    await services.rentals.get(call.account.account_id, call.pod_id)
    if "text/event-stream" in call.headers.get("Accept", ""):
        seen = int(call.headers.get("Last-Event-ID", "0"))
        followed = services.history.follow(
            call.account.account_id, call.pod_id, seen, _BEAT_SECONDS
        )
        return EventStream(_chunks(followed, call.admit))
    after = query.cursor[0] if query.cursor else 0
    rows = await services.history.after(call.pod_id, after, query.limit + 1)
    return page(rows, query.limit, lambda row: (row.seq, ""), _shown)


async def _chunks(
    followed: AsyncGenerator[Sequence[Event], None], admit: Admit
) -> AsyncGenerator[bytes, None]:
    async with aclosing(followed):
        async for rows in followed:
            ended = any(row.kind == "ended" for row in rows)
            # A rental's own token dies with it, and may hear of that.
            if not ended and not await _admitted(admit):
                return
            yield b"".join(event(row.kind, _shown(row), row.seq) for row in rows) or HEARTBEAT
            if ended:
                return


async def _admitted(admit: Admit) -> bool:
    try:
        await admit()
    except UserError:
        return False
    return True


def _shown(row: Event) -> shapes.Event:
    session = {} if row.session_id is None else {"session_id": row.session_id}
    return shapes.Event(id=row.seq, at=rfc3339(row.at), kind=row.kind, detail=row.detail, **session)
