"""What an operator can set about the SSH front door: the ``[ssh]`` table."""

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, Strict

from gateway.admission import Limits
from gateway.penalties import Penalties
from gateway.settings import Keepalive
from kgpud.address import Address, Listen, Network

_CLOSED = ConfigDict(extra="forbid")

Count = Annotated[int, Strict(), Field(ge=1, le=1_000_000)]
Seconds = Annotated[float, Strict(), Field(ge=0, le=86_400)]


def _percent(value: int) -> int:
    if not 0 <= value <= 100:  # noqa: PLR2004 - it is one
        raise ValueError("must be a percentage")
    return value


@dataclass(frozen=True)
class SshPenalties:
    """What shuts a source out, and for how long (sshd's PerSourcePenalties)."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: Seconds for a connection that left without trying to log in.
    no_login: Seconds = Penalties.no_login
    #: Seconds for one none of whose keys was taken.
    refused: Seconds = Penalties.refused
    #: Seconds for one that used up the time to log in.
    too_slow: Seconds = Penalties.too_slow
    #: The sum up to which nothing happens.
    minimum: Seconds = Penalties.minimum
    #: The longest anybody is shut out; 0 turns penalties off.
    maximum: Seconds = Penalties.maximum


@dataclass(frozen=True)
class Ssh:
    """Where the SSH bastion listens, what a client may cost it, what it keeps of sessions."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: Every interface by default: users come straight to it.
    listen: Listen = Address("0.0.0.0", 2222)  # noqa: S104 - a bastion is for the outside
    #: Days that the audit trail's rows are kept.
    audit_days: Annotated[int, Strict(), Field(ge=1, le=36_500)] = 365
    #: Seconds to log in.
    login_seconds: Annotated[int, Strict(), Field(ge=1, le=3600)] = int(Limits.login_seconds)
    #: Seconds after which a client that says nothing is asked whether it is there …
    keepalive_seconds: Annotated[int, Strict(), Field(ge=1, le=86_400)] = Keepalive.seconds
    #: … and how many of these questions it may leave unanswered in a row.
    keepalive_count: Annotated[int, Strict(), Field(ge=1, le=10_000)] = Keepalive.count
    #: Keys that one connection may offer.
    attempts: Count = Limits.attempts
    #: Connections that haven't logged in (sshd's MaxStartups): from here on some are dropped …
    startups_begin: Count = Limits.startups_begin
    #: … at first this percentage, then more …
    startups_rate: Annotated[int, Strict(), AfterValidator(_percent)] = Limits.startups_rate
    #: … and here all.
    startups_full: Count = Limits.startups_full
    #: Of them, from one source.
    startups_per_source: Count = Limits.startups_per_source
    #: How many may begin their key exchange a second; the others wait their turn.
    key_exchanges_per_second: Count = int(Limits.key_exchanges_per_second)
    #: Of those who are in, how many more key exchanges they may begin a second, by key.
    rekeys_per_second: Count = int(Limits.rekeys_per_second)
    #: How many sessions one rental may begin a second, after `sessions_per_key` at once.
    sessions_per_second: Count = int(Limits.sessions_per_second)
    #: Connections and sessions at the same time.
    connections_per_source: Count = Limits.connections_per_source
    connections_per_key: Count = Limits.connections_per_key
    sessions_per_source: Count = Limits.sessions_per_source
    sessions_per_key: Count = Limits.sessions_per_key
    #: Days that a source is known after somebody logged in from it.
    known_days: Annotated[int, Strict(), Field(ge=0, le=3650)] = 7
    #: Networks without penalties and limits per source.
    exempt: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    penalties: SshPenalties = field(default_factory=SshPenalties)

    def keepalive(self) -> Keepalive:
        """Return how the bastion is to notice that a client has vanished."""
        return Keepalive(self.keepalive_seconds, self.keepalive_count)

    def limits(self) -> Limits:
        """Return what the bastion is to hold to."""
        p = self.penalties
        return Limits(
            login_seconds=self.login_seconds,
            attempts=self.attempts,
            startups_begin=self.startups_begin,
            startups_rate=self.startups_rate,
            startups_full=self.startups_full,
            startups_per_source=self.startups_per_source,
            key_exchanges_per_second=self.key_exchanges_per_second,
            rekeys_per_second=self.rekeys_per_second,
            sessions_per_second=self.sessions_per_second,
            connections_per_source=self.connections_per_source,
            connections_per_key=self.connections_per_key,
            sessions_per_source=self.sessions_per_source,
            sessions_per_key=self.sessions_per_key,
            known_seconds=self.known_days * 86_400.0,
            penalties=Penalties(p.no_login, p.refused, p.too_slow, p.minimum, p.maximum),
            exempt=self.exempt,
        )
