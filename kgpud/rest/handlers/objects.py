"""Transit objects: where to put them, where to get them."""

from typing import Any

from kgpud.clock import rfc3339
from kgpud.errors import Code, UserError
from kgpud.objects.plan import Wish
from kgpud.objects.service import Objects
from kgpud.objects.ticket import Ticket
from kgpud.rest.call import Call
from kgpud.rest.shapes.objects import (
    CreateObject,
    ObjectToGet,
    ObjectToPut,
    PartToPut,
    TransitObject,
)
from kgpud.rest.shapes.pages import Page, PageQuery, page
from store.objects import TransitObject as Row


async def create_object(call: Call[CreateObject]) -> ObjectToPut:
    """Reserve room for an object that is kept for 24 hours, and say where to PUT it.

    One URL takes it whole, for an hour. For a `size_bytes` above what a single PUT takes there are
    `parts` instead: send each to its own URL, then call `POST /objects/{object_id}/complete`.
    """
    objects, account = _objects(call), call.account.account_id
    async with call.once() as once:
        if once.answer is None:
            ticket = await objects.create(account, wish(call.body), once.keep)
        else:
            # The id was kept; the URLs are secrets, and made afresh.
            ticket = await objects.created(account, once.answer)
    return ObjectToPut(**_shown(call, ticket.object), **_to_put(objects, ticket))


def wish(body: CreateObject) -> Wish:
    """Return what a body asks for."""
    return Wish(body.label, body.size_bytes, body.sha256, body.purge_on_release)


async def list_objects(call: Call[None, PageQuery]) -> Page[TransitObject]:
    """List the account's objects, newest first, ended ones of the last days included."""
    query = call.query
    account = call.account.account_id
    return page(
        await _objects(call).list(account, query.cursor, query.limit + 1),
        query.limit,
        lambda o: (o.created_at, o.object_id),
        lambda o: TransitObject(**_shown(call, o)),
    )


async def get_object(call: Call) -> ObjectToGet:
    """Say what became of an upload, and where to GET it: a fresh URL that is good for an hour.

    For an object in parts that is not complete yet: fresh URLs for those that are missing.
    """
    objects = _objects(call)
    return _to_get(call, objects, await objects.get(*_which(call)))


async def complete_object(call: Call) -> ObjectToGet:
    """Make an object of its parts once all are there; calling it again changes nothing."""
    objects = _objects(call)
    return _to_get(call, objects, await objects.complete(*_which(call)))


async def delete_object(call: Call) -> TransitObject:
    """Delete an object at once; for one that is no more, just show it."""
    return TransitObject(**_shown(call, await _objects(call).delete(*_which(call))))


def _objects(call: Call[Any, Any]) -> Objects:
    transit = call.services.transit
    if transit is None:
        raise UserError(Code.OBJECTS_DISABLED, "this installation has no object store")
    return transit.objects


def _which(call: Call[Any, Any]) -> tuple[str, str]:
    return call.account.account_id, call.path["object_id"]


def _shown(call: Call[Any, Any], o: Row) -> dict[str, Any]:
    return {
        "object_id": o.object_id,
        "label": o.label,
        "state": o.state(call.services.clock.now_ms()),
        "size_bytes": o.declared_bytes if o.size_bytes is None else o.size_bytes,
        "sha256": o.sha256,
        "etag": o.etag,
        "purge_on_release": o.purge_on_release,
        "created_at": rfc3339(o.created_at),
        "expires_at": rfc3339(o.expires_at),
        "end_reason": o.end_reason,
    }


def _to_put(objects: Objects, ticket: Ticket) -> dict[str, Any]:
    if ticket.put_url is not None:
        return {
            "put_url": ticket.put_url,
            "put_max_bytes": objects.limits.put_bytes,
            "put_expires_at": rfc3339(ticket.until),
        }
    parts = [
        PartToPut(number=slot.number, url=url, offset=slot.offset, size_bytes=slot.size)
        for slot, url in ticket.parts
    ]
    return {
        "put_url": None,
        "put_expires_at": rfc3339(ticket.until),
        "part_size": ticket.object.part_bytes,
        "parts": parts,
    }


def _to_get(call: Call[Any, Any], objects: Objects, ticket: Ticket) -> ObjectToGet:
    o = ticket.object
    ready = ticket.get_url is not None
    until = rfc3339(ticket.until) if ready else None
    incomplete = o.part_bytes is not None and o.etag is None
    return ObjectToGet(
        **_shown(call, o),
        **(_to_put(objects, ticket) if incomplete else {}),
        get_url=ticket.get_url,
        get_expires_at=until,
    )
