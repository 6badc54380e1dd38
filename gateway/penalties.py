"""Sources that misbehave are shut out for a while, and those that logged in lately are not.

After OpenSSH 9.8's PerSourcePenalties: penalties add up, count for nothing until they pass a
minimum, and run out by themselves. No I/O, no clock of its own.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_IPV6_PREFIX = 64  # what one customer of a provider has


def source(address: str) -> Network | None:
    """Return who an address stands for: itself, or an IPv6 /64. None if it is no IP address."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip_network(ip.ipv4_mapped)
        return ip_network((ip, _IPV6_PREFIX), strict=False)
    return ip_network(ip)


@dataclass(frozen=True)
class Penalties:
    """Seconds for one connection that ended so, and how they count. Defaults are OpenSSH's."""

    #: It went without even trying to log in, as scanners do.
    no_login: float = 1.0
    #: It tried, and no key was taken.
    refused: float = 5.0
    #: It used up the time to log in.
    too_slow: float = 10.0
    #: Up to this sum nothing happens.
    minimum: float = 15.0
    #: The longest anybody is shut out.
    maximum: float = 600.0


@dataclass
class _Sentence:
    until: float
    enforced: bool = False


class Record:
    """What is remembered of sources: the newest `capacity` of each kind.

    Under an attack from more sources than that the oldest are forgiven, so that a flood can't
    fill the memory nor shut everybody out.
    """

    def __init__(
        self, penalties: Penalties, known_seconds: float, *, capacity: int = 65_536
    ) -> None:
        self._penalties = penalties
        self._known_seconds = known_seconds
        self._capacity = capacity
        self._sentences: dict[str, _Sentence] = {}
        self._known: dict[str, float] = {}

    def penalise(self, who: str, seconds: float, now: float) -> bool:
        """Add to a source's penalty; return whether it is shut out from now on."""
        sentence = self._sentences.pop(who, None) or _Sentence(now)
        sentence.until = min(
            max(sentence.until, now) + seconds,
            now + self._penalties.maximum,
        )
        self._sentences[who] = sentence
        _trim(self._sentences, self._capacity)
        if sentence.enforced or sentence.until - now <= self._penalties.minimum:
            return False
        sentence.enforced = True
        return True

    def shut_out(self, who: str, now: float) -> bool:
        """Tell whether a source's penalty is enforced just now."""
        sentence = self._sentences.get(who)
        if sentence is None:
            return False
        if sentence.until <= now:
            del self._sentences[who]
            return False
        return sentence.enforced

    def welcome(self, who: str, now: float) -> None:
        """Remember that somebody logged in from there."""
        self._known.pop(who, None)
        self._known[who] = now + self._known_seconds
        _trim(self._known, self._capacity)

    def known(self, who: str, now: float) -> bool:
        """Tell whether somebody logged in from there lately."""
        until = self._known.get(who)
        if until is not None and until <= now:
            del self._known[who]
            return False
        return until is not None


def _trim(book: dict[str, _Sentence] | dict[str, float], capacity: int) -> None:
    # Dicts keep the order of insertion: the first is the one that was longest not renewed.
    while len(book) > capacity:
        del book[next(iter(book))]
