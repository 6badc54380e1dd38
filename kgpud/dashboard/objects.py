"""Transit objects: what is there, uploads, links to fetch, deletion."""

import re
from urllib.parse import urlsplit

from kgpud.dashboard.visit import Answer, Page, Redirect, Visit
from kgpud.errors import Code, UserError
from kgpud.objects.plan import Wish
from kgpud.objects.service import Objects

_SHOWN = 100


async def index(visit: Visit) -> Answer:
    """List the account's objects, newest first, with the form that makes one."""
    found = await _objects(visit).list(visit.account.account_id, None, _SHOWN)
    return Page("objects.html", {"objects": found})


async def create(visit: Visit) -> Answer:
    """Reserve an object and show where its bytes go: a file chosen here, or a line of curl."""
    label = visit.form.get("label", "").strip()[:100]
    wish = Wish(label, None, None, "purge_on_release" in visit.form)
    ticket = await _objects(visit).create(visit.account.account_id, wish)
    assert ticket.put_url is not None, "only a declared size makes parts"
    return Page(
        "upload.html",
        {
            "object": ticket.object,
            "put_url": ticket.put_url,
            "until": ticket.until,
            "most": _objects(visit).limits.put_bytes,
        },
        reaches=_origin(ticket.put_url),
    )


async def show(visit: Visit) -> Answer:
    """Show what became of an object, and a link that fetches it for an hour."""
    ticket = await _objects(visit).get(visit.account.account_id, _object_id(visit))
    return Page("object.html", {"object": ticket.object, "ticket": ticket})


async def confirm_delete(visit: Visit) -> Answer:
    """Say what would be lost, before it is."""
    mine, object_id = visit.account.account_id, _object_id(visit)
    found = (await _objects(visit).get(mine, object_id)).object
    return Page("delete_object.html", {"object": found})


async def delete(visit: Visit) -> Answer:
    """Delete an object."""
    await _objects(visit).delete(visit.account.account_id, _object_id(visit))
    return Redirect("/objects")


def _objects(visit: Visit) -> Objects:
    transit = visit.services.transit
    if transit is None:
        raise UserError(Code.OBJECTS_DISABLED, "this installation has no object store")
    return transit.objects


def _object_id(visit: Visit) -> str:
    object_id = visit.path["object_id"]
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", object_id):
        raise UserError(Code.NOT_FOUND, "there is no such object")
    return object_id


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
