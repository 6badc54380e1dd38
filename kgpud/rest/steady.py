"""Answers kept for whoever asks the same again while nothing has changed.

Many ask for the menu, and who waits for a pod asks again and again: most of it would be worked out
to the same bytes each time.
"""

from kgpud.memo import Memo
from kgpud.rest.call import Services

_MOST = 1024


def kept(services: Services) -> Memo[bytes]:
    """Return a place for answers made of the store, the cluster as last seen, and the second."""

    def state() -> tuple[int, int, int, int] | None:
        store = services.rentals.version()
        if store is None:
            return None
        second = services.clock.now_ms() // 1000
        return store, services.catalog.changes, services.rentals.activity.noted, second

    return Memo(state, _MOST)
