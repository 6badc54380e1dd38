"""What happened to a rental, and what may be waited for."""

from typing import Annotated, Literal

from pydantic import Field

from kgpud.rest.shapes.base import WHOLE, Answer, Query, Time
from store.records import EventKind


class WaitQuery(Query):
    """What to wait for before the rental is shown."""

    wait: Literal["ready", "ended"] | None = None
    """Answer only once the rental is ready, or has ended; an end always answers."""
    timeout: Annotated[int, Field(ge=1, le=300), WHOLE] = 60
    """Seconds to wait at most; then the rental is shown as it is."""


class Event(Answer):
    """Something that happened to a rental."""

    id: int
    """Counts the rental's events from 1."""
    at: Time
    kind: EventKind
    detail: str
    """The event's own word: where it was scheduled, the image that is pulled, how many minutes it
    was idle or the balance lasts, the new key's fingerprint, a session's kind or why it closed, the
    end's reason; or nothing."""
    session_id: str | None = None
    """Which session, where it is about one."""

    examples = (
        {
            "id": 4,
            "at": "2026-05-25T21:51:43.000Z",
            "kind": "ready",
            "detail": "",
        },
        {
            "id": 5,
            "at": "2026-05-25T21:52:10.400Z",
            "kind": "session_opened",
            "detail": "shell",
            "session_id": "3f9c2e61a07b44d8",
        },
    )
