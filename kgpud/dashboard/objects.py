"""Transit objects: what is there, uploads, links to fetch, deletion."""

from urllib.parse import urlsplit

from pydantic import ValidationError

from kgpud.dashboard.visit import Answer, Page, Redirect, Visit
from kgpud.errors import Code, UserError
from kgpud.objects.service import Objects
from kgpud.rest.handlers.objects import wish
from kgpud.rest.shapes.objects import CreateObject

_SHOWN = 100


async def index(visit: Visit) -> Answer:
    """List the account's objects, newest first, with the form that makes one."""
    return await _index(visit, "")


async def create(visit: Visit) -> Answer:
    """Reserve an object and show where its bytes go: a file chosen here, or a line of curl."""
    label = visit.form.get("label", "").strip() or None
    asked = {"label": label, "purge_on_release": "purge_on_release" in visit.form}
    try:
        body = CreateObject.model_validate(asked)
    except ValidationError as refused:
        return await _index(visit, refused.errors()[0]["msg"])
    ticket = await _objects(visit).create(visit.account.account_id, wish(body))
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
    ticket = await _objects(visit).get(visit.account.account_id, visit.path["object_id"])
    return Page("object.html", {"object": ticket.object, "ticket": ticket})


async def confirm_delete(visit: Visit) -> Answer:
    """Say what would be lost, before it is."""
    ticket = await _objects(visit).get(visit.account.account_id, visit.path["object_id"])
    return Page("delete_object.html", {"object": ticket.object})


async def delete(visit: Visit) -> Answer:
    """Delete an object."""
    await _objects(visit).delete(visit.account.account_id, visit.path["object_id"])
    return Redirect("/objects")


async def _index(visit: Visit, refused: str) -> Page:
    """Show the list, and what is wrong with the label that was chosen."""
    found = await _objects(visit).list(visit.account.account_id, None, _SHOWN)
    context = {
        "objects": found,
        "values": {"label": visit.form.get("label", "")},
        "errors": {"label": refused} if refused else {},
    }
    return Page("objects.html", context, 422 if refused else 200)


def _objects(visit: Visit) -> Objects:
    transit = visit.services.transit
    if transit is None:
        raise UserError(Code.OBJECTS_DISABLED, "this installation has no object store")
    return transit.objects


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
