"""Who is in which pod right now, so that a rental's end or a new key can end it at once."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Gone(Enum):
    """The client left."""

    CLIENT = "client_gone"


@dataclass(frozen=True)
class Cut:
    """The session was ended from outside: the reason is for the record, the sentence to say."""

    reason: str
    sentence: str


class Cuttable(Protocol):
    """A session that can be told to end. `name` is as in SessionOpened."""

    name: str

    def cut(self, how: Cut) -> None:
        """End now, and tell the client why."""

    def notify(self, sentence: str) -> None:
        """Tell a terminal a line of ours, and nobody else."""


class Cuts:
    """The open sessions by rental. `empty` is set while there are none."""

    def __init__(self) -> None:
        self._sessions: defaultdict[str, set[Cuttable]] = defaultdict(set)
        self.empty = asyncio.Event()
        self.empty.set()

    @contextmanager
    def registered(self, rental: str, session: Cuttable) -> Iterator[None]:
        """Keep a session in the book. Register first, then check that its key still holds."""
        self._sessions[rental].add(session)
        self.empty.clear()
        try:
            yield
        finally:
            self._sessions[rental].discard(session)
            if not self._sessions[rental]:
                del self._sessions[rental]
            if not self._sessions:
                self.empty.set()

    def cut(self, rental: str, how: Cut) -> None:
        """End a rental's sessions."""
        for session in list(self._sessions.get(rental, ())):
            session.cut(how)

    def notify(self, rental: str, sentence: str) -> None:
        """Tell a rental's terminals a line of ours."""
        for session in list(self._sessions.get(rental, ())):
            session.notify(sentence)

    def notify_all(self, sentence: str) -> None:
        """Tell every terminal a line of ours."""
        for rental in list(self._sessions):
            self.notify(rental, sentence)

    def names(self) -> Sequence[str]:
        """Return the names of the open sessions."""
        return [session.name for sessions in self._sessions.values() for session in sessions]

    def cut_all(self, how: Cut) -> None:
        """End every session."""
        for rental in list(self._sessions):
            self.cut(rental, how)
