"""What a user is given to move an object's bytes with."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kgpud.errors import Code, UserError
from kgpud.objects.stores import Slot
from store.objects import TransitObject


@dataclass(frozen=True)
class Ticket:
    """An object with the URLs that go with its state, and when these die.

    One that is pending has a `put_url`, or the `parts` that are still to come; one that is ready
    has a `get_url`.
    """

    object: TransitObject
    until: int
    put_url: str | None = field(default=None, repr=False)
    get_url: str | None = field(default=None, repr=False)
    parts: Sequence[tuple[Slot, str]] = field(default=(), repr=False)


def window(o: TransitObject, seconds: int, now: int) -> tuple[int, int]:
    """Return for how many seconds a URL is good, and until when: never beyond expires_at.

    Raises OBJECT_EXPIRED.
    """
    # Whole seconds are all that S3 knows; the last fraction of one is nobody's.
    seconds = min(seconds, (o.expires_at - now) // 1000)
    if seconds <= 0:
        raise UserError(Code.OBJECT_EXPIRED, "this object's 24 hours are over")
    return seconds, now + seconds * 1000
