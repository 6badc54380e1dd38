"""What states and events are called, and how long things took. Pure."""

from kgpud import reasons
from store.records import Action, ActionKind, Event, Rental

_EVENTS = {
    "created": "rented",
    "scheduled": "placed on {}",
    "pulling": "fetching the image {}",
    "started": "the container started",
    "ready": "ready",
    "idle_warning": "unused for {} minutes: it is released if that goes on",
    "low_balance": "the balance lasts for {} more minutes",
    "key_rotated": "another key opens it now: {}",
    "session_opened": "somebody came in over ssh ({})",
    "session_closed": "an ssh session ended ({})",
}

_ACTIONS: dict[ActionKind, str] = {
    "added": "made the account",
    "approved": "approved the account",
    "suspended": "suspended the account",
    "reinstated": "let the account in again",
    "deleted": "deleted the account",
    "changed": "changed the account",
    "credited": "gave or took credits",
    "token_issued": "issued a new token",
    "token_revoked": "revoked the token",
    "link_made": "made a sign-in link",
    "released": "ended the rental",
}


def phase(rental: Rental) -> str:
    """Say how a rental is, in a word or two."""
    if rental.phase == "Pending":
        return (rental.pending_reason or "pending").partition(":")[0]
    if rental.phase == "Running":
        return "ready" if rental.ready else "getting ready"
    return {"Terminating": "ending", "Ended": "ended", "Failed": "failed"}[rental.phase]


def event(happened: Event) -> str:
    """Say what happened to a rental."""
    if happened.kind == "ended":
        return reasons.sentence(happened.detail)
    return _EVENTS[happened.kind].format(happened.detail)


def action(done: Action) -> str:
    """Say what somebody did."""
    return _ACTIONS[done.action]


def duration(ms: int) -> str:
    """Say how long something took: ``4.2 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    seconds = max(0, ms) / 1000
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:  # noqa: PLR2004 - two days
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def sentence(words: str) -> str:
    """Return words that begin small, as messages do, as a sentence that stands alone."""
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def size(count: int) -> str:
    """Say how many bytes: ``512 B``, ``4.2 MB``, ``5.4 GB``."""
    if count < 1000:  # noqa: PLR2004 - a kilobyte
        return f"{count} B"
    amount, unit = float(count), "B"
    for unit in ("kB", "MB", "GB"):  # noqa: B007 - the last one that was needed counts
        amount /= 1000
        if amount < 1000:  # noqa: PLR2004 - the next one's
            break
    return f"{amount:.1f} {unit}"
