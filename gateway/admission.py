"""Who may come in now: what connections and sessions may cost before and after they log in.

All of it is policy without I/O; time and chance are given. Sources that somebody logged in from
lately are *known*: penalties don't shut them out, and they have room of their own, so neither a
flood of strangers nor one fool behind a shared address locks them out. (What the fool leaves half
open makes room for whoever comes next from there.)
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from gateway.penalties import Network, Penalties, Record, source

_MOST_RENTALS = 65_536
_SPARED = 4


@dataclass(frozen=True)
class Limits:
    """What a bastion allows. Seconds are of monotonic time."""

    #: Time to log in.
    login_seconds: float = 60.0
    #: Keys that one connection may offer.
    attempts: int = 10
    #: Connections that haven't logged in: from `startups_begin` on a new one is dropped with a
    #: chance of `startups_rate` percent, which grows to 100 at `startups_full` (sshd's
    #: MaxStartups). Known sources and strangers are counted apart.
    startups_begin: int = 50
    startups_rate: int = 30
    startups_full: int = 200
    #: Of these, from one source.
    startups_per_source: int = 40
    #: First key exchanges begun a second, for known sources and strangers each.
    key_exchanges_per_second: float = 50.0
    #: Later ones that clients begin, for each key.
    rekeys_per_second: float = 20.0
    connections_per_source: int = 500
    connections_per_key: int = 100
    #: Sessions that one rental may begin a second, once it has begun `sessions_per_key` at once:
    #: each costs an exec, and a row for as long as the audit trail is kept.
    sessions_per_second: float = 20.0
    sessions_per_source: int = 1000
    sessions_per_key: int = 200
    #: How long a source is known after somebody logged in from it.
    known_seconds: float = 7 * 86_400.0
    penalties: Penalties = field(default_factory=Penalties)
    #: Networks without penalties and limits per source: proxies, health checks, this machine.
    exempt: tuple[Network, ...] = ()


class Refusal(Enum):
    """Why a connection is dropped before a word is said."""

    PENALTY = "penalty"
    SOURCE_STARTUPS = "startups_per_source"
    SOURCE_CONNECTIONS = "connections_per_source"
    STARTUPS = "startups"


class Pace:
    """Lets things begin at a rate: some at once, by default a second's worth, then each in turn."""

    def __init__(self, per_second: float, at_once: float | None = None) -> None:
        self._interval = 1.0 / per_second
        burst = 1.0 if at_once is None else at_once * self._interval
        self._burst = max(0.0, burst - self._interval)
        self._next = 0.0

    def delay(self, now: float) -> float:
        """Take the next turn; return the seconds until it comes."""
        turn = max(self._next, now - self._burst)
        self._next = turn + self._interval
        return max(0.0, turn - now)

    def give_back(self) -> None:
        """Leave a turn that was taken to somebody else."""
        self._next -= self._interval


@dataclass(eq=False)
class Visit:
    """One connection, from its arrival to its leaving. `source` is None where it is exempt.

    `shown` is the key of a rental that it showed, with proof or without; `hang_up` ends the
    connection.
    """

    source: str | None
    known: bool
    began: float
    attempts: int = 0
    key: str | None = None
    shown: str | None = None
    displaced: bool = False
    over: bool = False
    hang_up: Callable[[], None] = lambda: None

    @property
    def payers(self) -> list[str]:
        """Whose accounts its connection and its sessions are on."""
        return [name for name in (self.key, self.source) if name is not None]


@dataclass(eq=False)
class Place:
    """A session's place among those of its key and of its source, until nobody holds it.

    Its channel does, and its life, which may have to end a command after the client has left.
    """

    give_up: Callable[[], None]
    holders: int = 1

    def hold(self) -> None:
        """Keep it, too."""
        self.holders += 1

    def release(self) -> None:
        """Need it no more."""
        self.holders -= 1
        if not self.holders:
            self.give_up()


class Admission:
    """The counts of one bastion, and what it says to the next connection."""

    def __init__(
        self,
        limits: Limits,
        monotonic: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.limits = limits
        self._now = monotonic
        self._chance = chance
        self._record = Record(limits.penalties, limits.known_seconds)
        self._starting = dict.fromkeys((True, False), 0)
        self._paces = {known: Pace(limits.key_exchanges_per_second) for known in (True, False)}
        self._starting_from: defaultdict[str, list[Visit]] = defaultdict(list)
        self._connections: Counter[str] = Counter()
        self._sessions: Counter[str] = Counter()
        self._rekeys: dict[str, Pace] = {}
        self._beginnings: dict[str, Pace] = {}

    def remember(self, address: str, seconds_ago: float) -> None:
        """Know an address again that somebody logged in from before a restart."""
        network = source(address)
        if network is not None:
            self._record.welcome(str(network), self._now() - seconds_ago)

    def arrive(self, address: str) -> Visit | Refusal:
        """Take a connection in, or say why not. Every visit must `leave`."""
        network = source(address)
        if network is None or any(
            network.network_address in exempt for exempt in self.limits.exempt
        ):
            who = None
        else:
            who = str(network)
        known = who is None or self._record.known(who, self._now())
        refusal = self._refusal(who, known=known)
        if refusal is not None:
            return refusal
        visit = Visit(who, known, self._now())
        self._starting[known] += 1
        if who is not None:
            self._starting_from[who].append(visit)
            self._connections[who] += 1
        return visit

    def key_exchange_delay(self, visit: Visit) -> float:
        """Return the seconds to wait before the first key exchange's costly part."""
        return self._paces[visit.known].delay(self._now())

    def give_key_exchange_back(self, visit: Visit) -> None:
        """Take note that it left before its key exchange's turn came."""
        self._paces[visit.known].give_back()

    def rekey_delay(self, visit: Visit) -> float:
        """Return the seconds to wait before a later key exchange that the client begins."""
        assert visit.key is not None
        pace = self._rekeys.setdefault(visit.key, Pace(self.limits.rekeys_per_second))
        return pace.delay(self._now())

    def attempt(self, visit: Visit) -> bool:
        """Count an attempt to log in; return False once there were too many."""
        visit.attempts += 1
        return visit.attempts <= self.limits.attempts

    def log_in(self, visit: Visit, key: str) -> str | None:
        """Note which key signed. Return why it may not come in all the same, if so."""
        if self._connections[key] >= self.limits.connections_per_key:
            return f"at most {self.limits.connections_per_key} connections with one key"
        self._settle(visit)
        visit.key = key
        self._connections[key] += 1
        if visit.source is not None:
            self._record.welcome(visit.source, self._now())
        return None

    def open_session(self, visit: Visit) -> Place | str:
        """Return a new session's place, or why there may be no more."""
        limits = self.limits
        assert visit.key is not None
        if self._sessions[visit.key] >= limits.sessions_per_key:
            return f"at most {limits.sessions_per_key} sessions with one key"
        if visit.source and self._sessions[visit.source] >= limits.sessions_per_source:
            return f"at most {limits.sessions_per_source} sessions from one address"
        payers = visit.payers
        self._sessions.update(payers)
        return Place(lambda: _take(self._sessions, payers))

    def session_delay(self, rental: str) -> float:
        """Return the seconds to wait before a rental's next session begins."""
        limits = self.limits
        pace = self._beginnings.pop(rental, None)
        pace = pace or Pace(limits.sessions_per_second, limits.sessions_per_key)
        # Kept when its connections have gone: who comes again goes on where it was.
        self._beginnings[rental] = pace
        if len(self._beginnings) > _MOST_RENTALS:
            del self._beginnings[next(iter(self._beginnings))]
        return pace.delay(self._now())

    def leave(self, visit: Visit) -> str | None:
        """End a visit; only the first call counts. Return a source that is shut out from now on."""
        if visit.over:
            return None
        visit.over = True
        _take(self._connections, visit.payers)
        if visit.key is not None and visit.key not in self._connections:
            self._rekeys.pop(visit.key, None)
        if visit.key is not None or visit.displaced:
            return None
        self._settle(visit)
        if visit.source is None or not self._record.penalise(
            visit.source, self._penalty(visit), self._now()
        ):
            return None
        return visit.source

    def _refusal(self, who: str | None, *, known: bool) -> Refusal | None:
        if who is not None:
            if not known and self._record.shut_out(who, self._now()):
                return Refusal.PENALTY
            full = len(self._starting_from.get(who, ())) >= self.limits.startups_per_source
            if full and not (known and self._displace(who)):
                return Refusal.SOURCE_STARTUPS
            if self._connections[who] >= self.limits.connections_per_source:
                return Refusal.SOURCE_CONNECTIONS
        return Refusal.STARTUPS if self._drops(self._starting[known]) else None

    def _displace(self, who: str) -> bool:
        """Hang up on one of a source's half-open connections; return whether there is any.

        The newest that showed the key of a rental are spared, but few for each: public keys are
        known to many.
        """
        spared, doubtful = Counter[str](), []
        for visit in reversed(self._starting_from[who]):
            if visit.shown is not None and spared[visit.shown] < _SPARED:
                spared[visit.shown] += 1
            else:
                doubtful.append(visit)
        if not doubtful:
            return False
        visit = doubtful[-1 - int(self._chance() * len(doubtful))]
        self._settle(visit)
        visit.displaced = True
        visit.hang_up()
        return True

    def _drops(self, starting: int) -> bool:
        begin, full = self.limits.startups_begin, self.limits.startups_full
        if starting < begin:
            return False
        if starting >= full:
            return True
        rate = self.limits.startups_rate
        percent = rate + (100 - rate) * (starting - begin) / (full - begin)
        return self._chance() * 100 < percent

    def _settle(self, visit: Visit) -> None:
        """Take a visit out of those that haven't logged in."""
        self._starting[visit.known] -= 1
        if visit.source is not None:
            crowd = self._starting_from[visit.source]
            crowd.remove(visit)
            if not crowd:
                del self._starting_from[visit.source]

    def _penalty(self, visit: Visit) -> float:
        penalties = self.limits.penalties
        if self._now() - visit.began >= self.limits.login_seconds:
            return penalties.too_slow
        return penalties.refused if visit.attempts else penalties.no_login


def _take(counter: Counter[str], names: list[str]) -> None:
    """Count one less of each; what reaches nothing is forgotten."""
    for name in names:
        counter[name] -= 1
        if counter[name] <= 0:
            del counter[name]
