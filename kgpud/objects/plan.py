"""What an account may have in transit, and how an object is cut into parts. No I/O."""

import secrets
from dataclasses import dataclass

from kgpud.errors import Code, UserError
from kgpud.objects.stores import Slot
from store.objects import Held, ObjectEnd, TransitObject

DAY_MS = 86_400_000
GB = 10**9
MIB = 1 << 20
#: Reserved for an object whose size was not said: what a single PUT takes on S3.
UNDECLARED_BYTES = 5 << 30
# S3 takes at most 10,000 parts (UploadPart, Amazon S3 limits); URLs for a tenth of them are enough.
_MOST_PARTS = 1000


@dataclass(frozen=True)
class Wish:
    """What a user asks for. `size` is in bytes, None if it is not known yet."""

    label: str
    size: int | None = None
    sha256: str | None = None
    purge_on_release: bool = False


@dataclass(frozen=True)
class Limits:
    """Bytes and numbers, per account and per object. `put_bytes` is the most that one PUT takes."""

    account_bytes: int = 100 * GB
    object_bytes: int = 50 * GB
    account_objects: int = 1000
    put_bytes: int = UNDECLARED_BYTES - 5 * MIB
    part_bytes: int = 128 * MIB


def draft(account_id: str, wish: Wish, limits: Limits, now: int) -> TransitObject:
    """Return the row of a new object. Raises OBJECT_TOO_LARGE."""
    if wish.size is not None and wish.size > limits.object_bytes:
        raise UserError(
            Code.OBJECT_TOO_LARGE,
            f"an object has at most {limits.object_bytes} bytes",
            field="size_bytes",
        )
    reserved = min(UNDECLARED_BYTES, limits.object_bytes)
    return TransitObject(
        object_id=f"obj_{secrets.token_hex(12)}",
        account_id=account_id,
        label=wish.label,
        created_at=now,
        expires_at=now + DAY_MS,
        held_bytes=reserved if wish.size is None else wish.size,
        declared_bytes=wish.size,
        sha256=wish.sha256,
        purge_on_release=wish.purge_on_release,
        part_bytes=_part_bytes(wish.size, limits),
    )


def admit(o: TransitObject, held: Held, limits: Limits) -> None:
    """Raise QUOTA_EXCEEDED if a new object is too much beside what the account has."""
    if held.count >= limits.account_objects:
        raise UserError(
            Code.QUOTA_EXCEEDED,
            f"an account has at most {limits.account_objects} live objects; delete some first",
        )
    if held.bytes + o.held_bytes > limits.account_bytes:
        why = "" if o.declared_bytes is not None else ", the reserve for a size that is not said"
        raise UserError(
            Code.QUOTA_EXCEEDED,
            f"{o.held_bytes} bytes{why}, are too much beside the {held.bytes} of"
            f" {limits.account_bytes} that live objects and pending uploads hold",
            field=None if o.declared_bytes is None else "size_bytes",
        )


def verdict(o: TransitObject, size: int, others: Held, limits: Limits) -> ObjectEnd | None:
    """Return why an object of this measured size can't stay, None if it can."""
    if size > limits.object_bytes:
        return "object_too_large"
    if o.declared_bytes is not None and size != o.declared_bytes:
        return "size_mismatch"
    if others.bytes + size > limits.account_bytes:
        return "quota_exceeded"
    return None


def slots(o: TransitObject) -> list[Slot]:
    """Return the parts that an object is to come in; none for one that comes in one piece."""
    if o.part_bytes is None or o.declared_bytes is None:
        return []
    size, step = o.declared_bytes, o.part_bytes
    return [
        Slot(number, offset, min(step, size - offset))
        for number, offset in enumerate(range(0, size, step), start=1)
    ]


def _part_bytes(size: int | None, limits: Limits) -> int | None:
    if size is None or size <= limits.put_bytes:
        return None
    # Whole MiB, so that a shell can cut a file with dd bs=1M.
    fewest = -(-size // _MOST_PARTS)
    return max(limits.part_bytes, -(-fewest // MIB) * MIB)
