"""How long a gateway waits for who has fallen silent, on either side."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Keepalive:
    """A vanished client: asked after so much silence, gone after so many unanswered questions."""

    seconds: int = 30
    count: int = 20


@dataclass(frozen=True)
class Rhythm:
    """A silent API server: how often a stream is pinged, how many pings may go unanswered in a row.

    `vanished_seconds` is how long its kernel may acknowledge nothing at all: a window that stays
    closed is probed every 2 minutes in the end (TCP_RTO_MAX).
    """

    seconds: float = 15.0
    missed: int = 3
    vanished_seconds: float = 180.0
