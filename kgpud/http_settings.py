"""What an operator can set about the REST API's front door: the ``[http]`` table."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, Strict

from kgpud.address import Address, Listen, Network
from kgpud.paths import OptionalPath

Seconds = Annotated[int, Strict(), Field(ge=1, le=86_400)]
AtOnce = Annotated[int, Strict(), Field(ge=1, le=1000)]
Calls = Annotated[int, Strict(), Field(ge=0, le=1_000_000)]


@dataclass(frozen=True)
class Http:
    """Where the REST API listens, whom it believes, and what a caller may cost it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    #: Loopback by default: a TLS proxy in front of it is what faces the network.
    listen: Listen = Address("127.0.0.1", 8080)
    #: PEM files of a certificate's chain and its key, read again when they change; None for none.
    tls_cert: OptionalPath = None
    tls_key: OptionalPath = None
    #: Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.
    trusted_proxies: tuple[Network, ...] = ()
    #: Calls a minute by one account, and from one address but loopback; 0 is any number.
    account_calls_per_minute: Calls = 1200
    address_calls_per_minute: Calls = 2400
    #: Connections from one address that are open at the same time; loopback and proxies may more.
    connections_per_source: Annotated[int, Strict(), Field(ge=1, le=65_536)] = 500
    #: Seconds that a connection may take to send a request's head, or be idle between two.
    idle_seconds: Seconds = 75
    #: Seconds that a request's body may take, an upload to a transit object aside.
    body_seconds: Seconds = 60
    #: Commands that `POST /pods/{id}/exec` runs in one pod at the same time.
    execs_per_pod: AtOnce = 16
    #: Streams that one account has open (events, logs, pages that follow) and calls that wait.
    streams_per_account: AtOnce = 100

    def __post_init__(self) -> None:
        """Raise ValueError for what contradicts itself."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both or none")

    @property
    def scheme(self) -> str:
        """What the listener speaks."""
        return "http" if self.tls_cert is None else "https"
