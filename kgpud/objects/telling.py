"""What users are told of objects that are no more, and of stores that fail."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kgpud.errors import Code, UserError
from kgpud.objects.stores import FailureKind, StoreFailed, StoreFull
from store.objects import ObjectEnd, TransitObject

_ENDS: Mapping[ObjectEnd, tuple[Code, str]] = {
    "expired": (Code.OBJECT_EXPIRED, "this object's 24 hours are over"),
    "deleted": (Code.OBJECT_DELETED, "this object was deleted"),
    "rental_ended": (Code.OBJECT_DELETED, "this object was deleted as your last rental ended"),
    "account_deleted": (Code.OBJECT_DELETED, "this object was deleted with its account"),
    "lost": (Code.OBJECT_DELETED, "the object store has lost this object; upload it again"),
    "object_too_large": (
        Code.OBJECT_TOO_LARGE,
        "what was uploaded is larger than an object may be, so it was deleted",
    ),
    "size_mismatch": (
        Code.SIZE_MISMATCH,
        "what was uploaded has another size than was declared, so it was deleted",
    ),
    "quota_exceeded": (
        Code.QUOTA_EXCEEDED,
        "what was uploaded is more than the account had room for, so it was deleted",
    ),
    "checksum_mismatch": (
        Code.CHECKSUM_MISMATCH,
        "what was uploaded has another SHA-256 than was declared, so it was deleted",
    ),
}

_FAILURES: Mapping[FailureKind, str] = {
    "denied": "the object store refuses us",
    "clock_skew": "the object store says that our clock is wrong",
    "no_bucket": "the object store's bucket is missing",
    "unreachable": "the object store does not answer; try again soon",
    "failed": "the object store failed",
}


def check_there(o: TransitObject, now: int) -> None:
    """Raise the UserError of an object that is no more; its reason decides which."""
    state = o.state(now)
    if state in ("expired", "deleted"):
        code, why = _ENDS[o.end_reason or "expired"]
        raise UserError(code, why)


@contextmanager
def told() -> Iterator[None]:
    """Turn what a store fails with into OBJECT_STORE_FAILED and OBJECT_STORE_FULL."""
    try:
        yield
    except StoreFull as error:
        raise UserError(
            Code.OBJECT_STORE_FULL, "the object store has no room for it just now; try again later"
        ) from error
    except StoreFailed as error:
        raise UserError(Code.OBJECT_STORE_FAILED, _FAILURES[error.kind]) from error
