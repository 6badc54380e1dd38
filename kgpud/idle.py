"""How long a rental has been idle, and what follows from it. Pure."""

from kgpud.life_settings import Life
from store.records import Rental


def idle_ms(rental: Rental, now: int) -> int:
    """Return for how long nobody used a rental, in milliseconds.

    The clock stands still before the container runs and after the rental's end.
    """
    return max(0, min(now, rental.ended_at or now) - _since(rental, now))


def warns(rental: Rental, now: int, life: Life) -> bool:
    """Tell whether the rental has been idle for so long that its user is warned."""
    return rental.phase == "Running" and idle_ms(rental, now) >= life.idle_warning_ms


def is_over(rental: Rental, now: int, life: Life) -> bool:
    """Tell whether the rental has been idle for so long that it is released."""
    return rental.phase == "Running" and idle_ms(rental, now) >= life.idle_release_ms


def release_at(rental: Rental, now: int, life: Life) -> int | None:
    """Return when a running rental is released if nobody uses it; None for any other."""
    if rental.phase != "Running":
        return None
    return _since(rental, now) + life.idle_release_ms


def _since(rental: Rental, now: int) -> int:
    return max(rental.last_activity_at, rental.ran_since or now)
