"""What the gateway asks of the platform around it, and tells it: plain values both ways.

Inside one process these are calls. They are asynchronous and message-shaped, so that a bastion in
a process of its own can speak the same messages over a socket.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Protocol


@dataclass(frozen=True)
class ApiServer:
    """How to reach a Kubernetes API server right now.

    `headers` carry the credentials and may differ from one call to the next (rotated tokens).
    `proxy` is an HTTP proxy to go through, as ``http://HOST:PORT``; `server_name` is what the
    certificate is held against where that is not the URL's host.
    """

    url: str
    ssl: SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy: str | None = None
    server_name: str | None = None


class NoApiServer(Exception):
    """There is nothing to reach the API server with. The text is for operators."""


class ApiServerSource(Protocol):
    """Where the gateway learns how to reach the API server, asked before every exec."""

    async def api_server(self) -> ApiServer:
        """Return the current address and credentials. Raises NoApiServer."""
        ...

    def refused(self, server: ApiServer) -> None:
        """Take note that its credentials were refused: they may have been replaced."""
        ...

    def avoid(self, server: ApiServer) -> bool:
        """Take note that it can't be reached; tell whether another address is worth a try."""
        ...


@dataclass(frozen=True)
class PodRef:
    """A container in the cluster."""

    namespace: str
    name: str
    container: str


@dataclass(frozen=True)
class Route:
    """Where a key leads: one live rental, and which of its keys this was.

    `generation` counts the rental's key rotations. `waits_for` says what has to happen before the
    pod can be entered, for a user to read (``pulling``); None once it can be.
    """

    rental: str
    generation: int
    pod: PodRef
    waits_for: str | None = None


@dataclass(frozen=True)
class SessionOpened:
    """A channel began to serve a client. `kind` is ``exec``, ``shell`` or ``subsystem``.

    `fingerprint` is the key's that signed, `peer` the client's address, `client` what it calls
    itself (printable ASCII, at most 255 characters).
    """

    session: str
    rental: str
    generation: int
    kind: str
    peer: str
    client: str
    fingerprint: str


@dataclass(frozen=True)
class SessionClosed:
    """A channel ended. `exit_status` is what the client was told.

    `runs_on` says that something of it may run in the pod yet: nobody could be asked to end it.
    """

    session: str
    rental: str
    bytes_in: int
    bytes_out: int
    exit_status: int | None
    reason: str
    runs_on: bool = False


class Core(Protocol):
    """The platform as the bastion sees it."""

    async def resolve(self, fingerprint: str) -> Route | None:
        """Return the live rental that this ``SHA256:…`` fingerprint is pinned to, if any."""
        ...

    async def moved_on(self, fingerprint: str, route: Route) -> Route | None:
        """Return what `resolve` says once it no longer says `route`. May take for ever."""
        ...

    async def welcome(self, rental: str) -> str:
        """Return the line that an interactive login begins with, or ""."""
        ...

    async def opened(self, session: SessionOpened) -> None:
        """Take note that a session began."""
        ...

    async def activity(self, rental: str, bytes_in: int, bytes_out: int) -> None:
        """Take note that a session moved bytes since the last such message."""
        ...

    async def closed(self, session: SessionClosed) -> None:
        """Take note that a session ended."""
        ...
