"""The platform as the bastion sees it: which rental a key opens, and what its sessions did."""

from collections.abc import Callable

import structlog

from gateway.protocols import PodRef, Route, SessionClosed, SessionOpened
from kgpud import reasons, welcome
from kgpud.accounts import Accounts
from kgpud.audit import Audit
from kgpud.clock import Clock
from kgpud.cluster.pods import CONTAINER, STARTING
from kgpud.life_settings import Life
from kgpud.metrics import Counters
from kgpud.rentals import Rentals
from store.records import Rental, Session, SessionEnd

log = structlog.get_logger()

_KEY_ROTATED = "this rental's key was replaced"


def farewell(reason: str) -> str:
    """Return the sentence for a client whose session is cut for this reason."""
    return _KEY_ROTATED if reason == "key_rotated" else reasons.sentence(reason)


class Routing:
    """Implements `gateway.protocols.Core` on the rentals of this installation.

    `left` is told each session that ended without its command, and its rental's id.
    """

    def __init__(
        self,
        rentals: Rentals,
        accounts: Accounts,
        audit: Audit,
        clock: Clock,
        namespace: str,
        life: Life,
        counters: Counters,
        left: Callable[[str, str], None] = lambda _session, _pod_id: None,
    ) -> None:
        self._rentals = rentals
        self._accounts = accounts
        self._audit = audit
        self._clock = clock
        self._namespace = namespace
        self._life = life
        self._counters = counters
        self._left = left

    async def resolve(self, fingerprint: str) -> Route | None:
        """Return the live rental that the key is pinned to."""
        rental = await self._rentals.by_fingerprint(fingerprint)
        if rental is None:
            return None
        pod = PodRef(self._namespace, rental.pod_id, CONTAINER)
        return Route(rental.pod_id, rental.key_generation, pod, _waits_for(rental))

    async def moved_on(self, fingerprint: str, route: Route) -> Route | None:
        """Return where the key leads once that is no longer `route`."""
        with self._rentals.changes.of(route.rental) as changed:
            while (found := await self.resolve(fingerprint)) == route:
                await changed.wait()
                changed.clear()
        return found

    async def welcome(self, rental: str) -> str:
        """Return what to know on coming in: which pod, what it costs, and that nothing is kept."""
        row = await self._rentals.get(None, rental)
        account = await self._accounts.find(row.account_id)
        burn = await self._rentals.burn_per_hour(row.account_id)
        return welcome.line(row, account.balance, burn, self._clock.now_ms(), self._life)

    async def opened(self, session: SessionOpened) -> None:
        """Record that a session began."""
        log.info(
            "session.opened",
            session=session.session,
            pod_id=session.rental,
            kind=session.kind,
            peer=session.peer,
        )
        self._audit.opened(
            Session(
                session_id=session.session,
                pod_id=session.rental,
                generation=session.generation,
                fingerprint=session.fingerprint,
                peer=session.peer,
                client=session.client,
                kind=session.kind,
                opened_at=self._clock.now_ms(),
            )
        )

    async def activity(self, rental: str, bytes_in: int, bytes_out: int) -> None:
        """Set the rental's idle clock back: bytes moved, whatever their number."""
        if bytes_in or bytes_out:
            await self._rentals.activity.note(rental)

    async def closed(self, session: SessionClosed) -> None:
        """Record how a session ended."""
        log.info(
            "session.closed",
            session=session.session,
            pod_id=session.rental,
            bytes_in=session.bytes_in,
            bytes_out=session.bytes_out,
            exit_status=session.exit_status,
            reason=session.reason,
        )
        self._counters.session_ended(session.reason, session.bytes_in, session.bytes_out)
        if session.runs_on:
            self._left(session.session, session.rental)
        self._audit.closed(
            SessionEnd(
                session.session,
                self._clock.now_ms(),
                session.bytes_in,
                session.bytes_out,
                session.exit_status,
                session.reason,
            )
        )


def _waits_for(rental: Rental) -> str | None:
    if rental.phase == "Running" and rental.ready:
        return None
    return rental.pending_reason or STARTING
