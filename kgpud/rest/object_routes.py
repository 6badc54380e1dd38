"""The part of the route table that is about transit objects."""

from kgpud.errors import Code
from kgpud.rest.auth import Access
from kgpud.rest.handlers import objects
from kgpud.rest.route import IDEMPOTENCY_KEY, Route

_ANY = (Code.OBJECTS_DISABLED, Code.OBJECT_STORE_FAILED)
# What may have become of an upload.
_UPLOADED = (
    *_ANY,
    Code.OBJECT_EXPIRED,
    Code.OBJECT_DELETED,
    Code.OBJECT_TOO_LARGE,
    Code.SIZE_MISMATCH,
    Code.QUOTA_EXCEEDED,
    Code.CHECKSUM_MISMATCH,
)

OBJECT_ROUTES = (
    Route("GET", "/v1/objects", objects.list_objects, Access.ANY_TOKEN, errors=_ANY),
    Route(
        "POST",
        "/v1/objects",
        objects.create_object,
        Access.ANY_TOKEN,
        errors=(
            *_ANY,
            Code.OBJECT_TOO_LARGE,
            Code.QUOTA_EXCEEDED,
            Code.OBJECT_STORE_FULL,
            Code.OBJECT_EXPIRED,
            Code.OBJECT_DELETED,
            Code.IDEMPOTENCY_IN_FLIGHT,
            Code.IDEMPOTENCY_MISMATCH,
        ),
        headers=(IDEMPOTENCY_KEY,),
    ),
    Route("GET", "/v1/objects/{object_id}", objects.get_object, Access.ANY_TOKEN, errors=_UPLOADED),
    Route(
        "DELETE", "/v1/objects/{object_id}", objects.delete_object, Access.ANY_TOKEN, errors=_ANY
    ),
    Route(
        "POST",
        "/v1/objects/{object_id}/complete",
        objects.complete_object,
        Access.ANY_TOKEN,
        errors=(*_UPLOADED, Code.UPLOAD_INCOMPLETE),
    ),
)
