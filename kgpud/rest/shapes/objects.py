"""Transit objects: what is asked for, and what is shown of them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from kgpud.rest.shapes.base import Answer, Body, Time, refused
from store.objects import ObjectEnd, ObjectState

_LARGEST = 1 << 53
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_SHOWN = {
    "object_id": "obj_8a1f09c2d44be7f35e60a1b2",
    "label": "mit-bih",
    "state": "ready",
    "size_bytes": 104_857_600,
    "sha256": _SHA256,
    "etag": "3e136b265b8629641133ee5ae6763a3e",
    "purge_on_release": False,
    "created_at": "2026-05-25T21:51:23.120Z",
    "expires_at": "2026-05-26T21:51:23.120Z",
    "end_reason": None,
}


def _label(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise refused("must be printable, without spaces at its ends")
    return value


def _sha256(value: str) -> str:
    if len(value) != 64 or set(value.lower()) - set("0123456789abcdef"):  # noqa: PLR2004
        raise refused("must be 64 hexadecimal digits, as sha256sum prints them")
    return value.lower()


class CreateObject(Body):
    """`POST /objects`."""

    label: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_label)] = "object"
    """What you call it."""
    size_bytes: Annotated[int, Field(ge=0, le=_LARGEST)] | None = None
    """Its exact size. Without it 5 GiB of your quota are held until the upload was measured."""
    sha256: Annotated[str, AfterValidator(_sha256)] | None = None
    """Its SHA-256 in hexadecimal digits: what was uploaded is read back and compared."""
    purge_on_release: bool = False
    """Delete it as soon as your last rental ends."""

    examples = (
        {"label": "mit-bih"},
        {"label": "mit-bih", "size_bytes": 104_857_600, "sha256": _SHA256},
    )


class TransitObject(Answer):
    """An object. `size_bytes` is the declared size until it is measured."""

    object_id: str
    label: str
    state: ObjectState
    """`pending` until everything is uploaded and measured, and a checksum verified."""
    size_bytes: int | None
    sha256: str | None
    etag: str | None
    """The store's own mark of the content; null until that was seen."""
    purge_on_release: bool
    created_at: Time
    expires_at: Time
    """24 hours after its creation it is gone."""
    end_reason: ObjectEnd | None

    examples = (_SHOWN,)


class PartToPut(Answer):
    """One part that is still to come: PUT exactly `size_bytes`, from `offset` on, to `url`."""

    number: int
    url: str
    offset: int
    size_bytes: int


class ObjectToPut(TransitObject):
    """An object with where to PUT it."""

    put_url: str | None = None
    """PUT the whole object there, with its Content-Length; null for one that comes in parts."""
    put_max_bytes: int | None = None
    """The most that `put_url` takes; declare a larger size to get parts."""
    put_expires_at: Time | None = None
    """When `put_url`, or the parts' URLs, are no longer good."""
    part_size: int | None = None
    """The size of every part but the last; a whole number of MiB."""
    parts: list[PartToPut] | None = None
    """Those that are still to come, in any order. Then `POST /objects/{object_id}/complete`."""

    examples = (
        {
            **_SHOWN,
            "state": "pending",
            "etag": None,
            "put_url": "https://api.kgpu.net/transit/obj_8a1f09c2d44be7f35e60a1b2?expires=…",
            "put_max_bytes": 5_363_466_240,
            "put_expires_at": "2026-05-25T22:51:23.120Z",
        },
    )


class ObjectToGet(ObjectToPut):
    """An object with where to GET it, once it is ready, or with the parts that are missing."""

    get_url: str | None = None
    """GET it there, with any number of clients; null until the object is ready."""
    get_expires_at: Time | None = None
    """When `get_url` is no longer good; never after `expires_at`."""

    examples = (
        {
            **_SHOWN,
            "get_url": "https://api.kgpu.net/transit/obj_8a1f09c2d44be7f35e60a1b2?expires=…",
            "get_expires_at": "2026-05-25T22:53:10.004Z",
        },
    )
