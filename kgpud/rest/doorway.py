"""A listening socket that lets nobody hold more than so many connections, before TLS even begins.

Each takes a descriptor of the daemon's, and without one nobody can come in over SSH either.
"""

import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog

log = structlog.get_logger()


class Doorway(socket.socket):
    """A listener's duplicate that counts what it accepts until that is closed.

    `source` names who stands behind an address; None for those who are not counted.
    """

    def __init__(
        self, listener: socket.socket, source: Callable[[str], str | None], most: int
    ) -> None:
        super().__init__(fileno=listener.dup().detach())
        self._source = source
        self._most = most
        self._open: Counter[str] = Counter()
        self._told: set[str] = set()

    def busy(self, source: str) -> int:
        """Return how many connections a source has open."""
        return self._open[source]

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Raises ConnectionAbortedError for one too many: it is closed."""
        conn, address = super().accept()
        source = self._source(address[0])
        if source is None:
            return conn, address
        if self._open[source] >= self._most:
            conn.close()
            self._tell(source)
            raise ConnectionAbortedError("too many connections from one source")
        self._open[source] += 1
        return _Counted(conn, lambda: self._let_go(source)), address

    def _tell(self, source: str) -> None:
        if source not in self._told:
            self._told.add(source)
            log.warning("http_connections_refused", source=source, open=self._most)

    def _let_go(self, source: str) -> None:
        self._open[source] -= 1
        if not self._open[source]:
            del self._open[source]
            self._told.discard(source)


class _Counted(socket.socket):
    """A connection that says when it is closed."""

    def __init__(self, conn: socket.socket, closed: Callable[[], None]) -> None:
        super().__init__(fileno=conn.detach())
        self._tell: Callable[[], None] | None = closed

    def close(self) -> None:
        super().close()
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()
