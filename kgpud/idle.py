"""How long a rental has been idle. Pure."""

from store.records import Rental

WARNING_MS = 12 * 3_600_000


def idle_ms(rental: Rental, now: int) -> int:
    """Return for how long nobody used a rental, in milliseconds.

    The clock stands still before the container runs and after the rental's end.
    """
    since = max(rental.last_activity_at, rental.started_at or now)
    return max(0, min(now, rental.ended_at or now) - since)


def warns(rental: Rental, now: int) -> bool:
    """Tell whether the rental has been idle for so long that its user is warned."""
    return rental.phase == "Running" and idle_ms(rental, now) >= WARNING_MS
