"""What was found out, for as long as what it was found out from stays as it is."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Memo(Generic[V]):
    """Values by key. All are forgotten once `state` returns anything else than before.

    None is a state that can't be told: nothing is remembered then.
    """

    def __init__(self, state: Callable[[], Hashable | None], most: int) -> None:
        self._ask = state
        self._state: Hashable | None = None
        self._values: dict[Hashable, V] = {}
        self._most = most

    async def find(self, key: Hashable, find: Callable[[], Awaitable[V]]) -> V:
        """Return what is known, or what `find` finds; what changes meanwhile is not remembered."""
        state = self._ask()
        if state is not None and state == self._state and key in self._values:
            return self._values[key]
        found = await find()
        if state is not None and state == self._ask():
            if state != self._state or len(self._values) >= self._most:
                self._state, self._values = state, {}
            self._values[key] = found
        return found
