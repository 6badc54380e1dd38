"""All policy of a rental's life: rent, rotate, observe, release."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from kgpud import clocksteps, deletion, observing, releasing, renting
from kgpud.activity import Activity
from kgpud.catalog import Catalog
from kgpud.changes import Changes
from kgpud.clock import Clock
from kgpud.clocksteps import ClockSteps
from kgpud.cluster import manifests
from kgpud.cluster.client import Cluster
from kgpud.cluster.errors import ClusterError
from kgpud.cluster.pods import PodState
from kgpud.errors import Code, UserError
from kgpud.metering import Ended, close_rental, give_back
from kgpud.reasons import RETURNED
from kgpud.releasing import owned
from kgpud.renting import Admitted, Rented, RentRequest, RentSettings, Rotated
from kgpud.tokens import Tokens
from store import bills, events, keys, rentals
from store.db import Connection, Database, StoreUnavailable
from store.records import Account, Rental
from store.rentals import Which

__all__ = ["RentRequest", "RentSettings", "Rentals", "Rented", "Rotated"]

log = structlog.get_logger()

# So many pods' news are taken before anybody else has a turn.
_AT_ONCE = 200


class Rentals:
    """The rentals of this installation. Methods raise UserError where they say no.

    `cut(pod_id, reason)` closes a rental's open sessions at once. `sweep_wanted` is set whenever
    a rental has ended: reconcile then deletes its pod and Secret. `changes` wakes who waits for
    what becomes of a rental. `activity` is told of every use.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        cluster: Cluster,
        catalog: Catalog,
        tokens: Tokens,
        settings: RentSettings,
        cut: Callable[[str, str], None],
    ) -> None:
        self._db = db
        self._clock = clock
        self._cluster = cluster
        self._catalog = catalog
        self._tokens = tokens
        self._settings = settings
        self._cut = cut
        self.steps = ClockSteps(db, clock)
        self.activity = Activity(db, clock)
        self.sweep_wanted = asyncio.Event()
        self.changes = Changes()

    async def rent(
        self, account_id: str, request: RentRequest, admitted: Admitted | None = None
    ) -> Rented:
        """Rent a pod for an approved account.

        `admitted` is called in the transaction that writes the rental; both happen or neither.
        Raises UserError: VALIDATION_FAILED, DUPLICATE, QUOTA_EXCEEDED, NO_CAPACITY,
        INSUFFICIENT_CREDITS; CLUSTER_UNREACHABLE or INTERNAL if there is no pod because of us.
        """
        draft = renting.draft(
            account_id, request, self._settings, self._catalog, self._clock.now_ms()
        )
        key = renting.choose_key(request.ssh_pubkey, draft.pod_id)
        if not self._catalog.fresh:
            raise UserError(Code.CLUSTER_UNREACHABLE, "the cluster does not answer; try again soon")
        async with self._db.transaction() as tx:
            now = await clocksteps.now(tx, self._clock)
            draft = replace(draft, created_at=now, last_activity_at=now)
            rental, left = await renting.admit(tx, draft, key, self._catalog)
            rented = Rented(rental, left, key.private_key)
            if admitted is not None:
                await admitted(tx, rented)
        log.info("rental.created", pod_id=rental.pod_id, account=account_id)
        await self._create(rental, request)
        return rented

    def version(self) -> int | None:
        """Return what is another number after each commit to the store; None: it can't be told."""
        return self._db.version()

    async def get(self, account_id: str | None, pod_id: str) -> Rental:
        """Return a rental, ended ones too; anybody's if `account_id` is None. NOT_FOUND."""
        async with self._db.reading() as rx:
            return self.activity.laid_over(await owned(rx, account_id, pod_id))

    async def list(self, which: Which) -> list[Rental]:
        """Return rentals, newest first."""
        async with self._db.reading() as rx:
            found = await rentals.newest(rx, which)
        return [self.activity.laid_over(rental) for rental in found]

    async def by_fingerprint(self, fingerprint: str) -> Rental | None:
        """Return the live rental that a key is pinned to."""
        async with self._db.reading() as rx:
            return await rentals.by_fingerprint(rx, fingerprint)

    async def in_use(self, account_id: str) -> tuple[int, int]:
        """Return the account's GPUs in live rentals, and its live rentals without a GPU."""
        async with self._db.reading() as rx:
            return await rentals.in_use(rx, account_id)

    async def burn_per_hour(self, account_id: str) -> int:
        """Return what the account's running rentals cost per hour together."""
        async with self._db.reading() as rx:
            return await bills.burn_per_hour(rx, account_id)

    async def rotate(self, account_id: str, pod_id: str, ssh_pubkey: str | None) -> Rotated:
        """Pin another key to a live rental: the old one is refused and its sessions end.

        Rotating to the key that is pinned already changes nothing. Raises NOT_FOUND, POD_ENDED,
        VALIDATION_FAILED or DUPLICATE.
        """
        key = renting.choose_key(ssh_pubkey, pod_id)
        async with self._db.transaction() as tx:
            rental = await owned(tx, account_id, pod_id)
            if rental.ended_at is not None:
                raise UserError(Code.POD_ENDED, "this rental has ended")
            public = key.public
            if public.fingerprint == rental.fingerprint:
                return Rotated(rental, None)
            await renting.check_unused(tx, public.fingerprint)
            generation = rental.key_generation + 1
            now = await clocksteps.now(tx, self._clock)
            await keys.pin(tx, pod_id, public.fingerprint, public.line, generation, now)
            await rentals.set_generation(tx, pod_id, generation)
        self._cut(pod_id, "key_rotated")
        self.changes.tell(pod_id)
        log.info("rental.key_rotated", pod_id=pod_id)
        rental = replace(rental, fingerprint=public.fingerprint, key_generation=generation)
        await self._annotate(rental)
        return Rotated(rental, key.private_key)

    async def release(self, account_id: str | None, pod_id: str, reason: str = RETURNED) -> Rental:
        """End a rental, anybody's if `account_id` is None; one that has ended stays as it is.

        The bill grows no more when this returns, and shrinks only if the container turns out to
        have finished before. The pod's deletion follows.
        """
        return self._released(
            *await releasing.release(self._db, self._clock, account_id, pod_id, reason)
        )

    async def force_release(self, pod_id: str, who: str) -> Rental:
        """End anybody's rental, `admin_released`, on record as what `who` did."""
        return self._released(*await releasing.force(self._db, self._clock, pod_id, who))

    def _released(self, rental: Rental, ended: Ended | None) -> Rental:
        if ended is not None:
            self.on_ended(ended.pod_id, ended.reason)
        return self.activity.laid_over(rental)

    async def end(
        self,
        pod_id: str,
        reason: str,
        *,
        still: Callable[[Rental, int], bool] = lambda _rental, _now: True,
        at: Callable[[Rental, int], int] = lambda _rental, now: now,
        finished_at: int | None = None,
    ) -> None:
        """End a live rental if there is `still` cause to; one that has ended stays as it is.

        `still` and `at`, which says as of when, are asked in the transaction, of the rental as it
        is then and the time. `finished_at` is when its container was last known to run, where the
        cluster can't tell.
        """
        async with self._db.transaction() as tx:
            now = await clocksteps.now(tx, self._clock)
            rental = await rentals.get(tx, pod_id)
            if rental is None or rental.ended_at is not None or not still(rental, now):
                return
            if finished_at is not None and rental.finished_at is None and rental.ran_since:
                within = max(rental.ran_since, min(finished_at, now))
                rental = replace(rental, finished_at=within)
                await rentals.save_observed(tx, [rental])
            ended = await close_rental(tx, rental, at(rental, now), reason, now)
        self.on_ended(ended.pod_id, ended.reason)

    async def delete_account(self, email_or_id: str, who: str) -> Account:
        """Delete an account: its rentals end with it. NOT_FOUND."""
        account, ended = await deletion.delete(self._db, self._clock, email_or_id, who)
        for one in ended:
            self.on_ended(one.pod_id, one.reason)
        return account

    def on_ended(self, pod_id: str, reason: str) -> None:
        """Do what follows a rental's end, once that is written."""
        self._cut(pod_id, reason)
        self.changes.tell(pod_id)
        self.sweep_wanted.set()
        log.info("rental.ended", pod_id=pod_id, reason=reason)

    def cut_ended(self, rental: Rental) -> None:
        """Close what is still open of an ended rental that another process may have ended."""
        self._cut(rental.pod_id, rental.end_reason or RETURNED)
        self.changes.tell(rental.pod_id)

    async def observe(self, pods: Iterable[PodState]) -> None:
        """Take what was seen of pods of this installation; pods without a rental are ignored."""
        every = list(pods)
        for start in range(0, len(every), _AT_ONCE):
            await self._observe({pod.name: pod for pod in every[start : start + _AT_ONCE]})

    async def _observe(self, seen: dict[str, PodState]) -> None:
        async with self._db.reading() as rx:
            if not _changes(await rentals.some(rx, seen), seen, self._clock.now_ms()):
                return
        async with self._db.transaction() as tx:
            now = await clocksteps.now(tx, self._clock)
            changes = _changes(await rentals.some(tx, seen), seen, now)
            told = [(c.rental.pod_id, now, *event) for c in changes for event in c.happened]
            await events.add(tx, told)
            await rentals.save_observed(tx, [change.rental for change in changes])
            for late in [c.rental for c in changes if c.rental.ended_at is not None]:
                await give_back(tx, late, now)
            ended = [await _close(tx, c, now) for c in changes if c.end_reason is not None]
            await rentals.save_gone(tx, [c.rental.pod_id for c in changes if c.gone], now)
            await rentals.save_risen(tx, [c.rental.pod_id for c in changes if c.risen])
        for change in changes:
            self.changes.tell(change.rental.pod_id)
        for one in ended:
            self.on_ended(one.pod_id, one.reason)

    async def _create(self, rental: Rental, request: RentRequest) -> None:
        token = self._tokens.pod_token(rental.pod_id)
        try:
            acknowledged = await renting.create(
                self._cluster,
                self._catalog,
                rental,
                request.env or {},
                token,
                self._settings.installation,
            )
        except ClusterError as error:
            log.warning("rental.create_failed", pod_id=rental.pod_id, error=str(error))
            await self._acknowledge(rental.pod_id)
            await self.end(rental.pod_id, f"start_failed:{error.reason or error.status}")
            raise renting.as_user_error(error) from error
        if acknowledged:
            await self._acknowledge(rental.pod_id)

    async def _acknowledge(self, pod_id: str) -> None:
        try:
            async with self._db.transaction() as tx:
                await rentals.acknowledge(tx, pod_id, await clocksteps.now(tx, self._clock))
        except StoreUnavailable as error:
            # Whoever rented has the pod all the same; that it is seen there counts as much.
            log.warning("rental.unacknowledged", pod_id=pod_id, error=str(error))

    async def _annotate(self, rental: Rental) -> None:
        written = 0
        try:
            # Two rotations at once may reach the cluster in the other order.
            while rental.key_generation != written:
                patch = {"metadata": {"annotations": manifests.annotations(rental)}}
                await self._cluster.patch_pod(rental.pod_id, patch)
                written = rental.key_generation
                rental = await self.get(None, rental.pod_id)
        except (ClusterError, StoreUnavailable) as error:
            # Only a lost database would miss it.
            log.warning("rental.annotation_failed", pod_id=rental.pod_id, error=str(error))


def _changes(found: list[Rental], seen: dict[str, PodState], now: int) -> list[observing.Observed]:
    observed = [(rental, observing.observe(rental, seen[rental.pod_id], now)) for rental in found]
    return [o for r, o in observed if o.rental != r or o.end_reason or o.gone or o.risen]


async def _close(tx: Connection, change: observing.Observed, now: int) -> Ended:
    assert change.end_reason is not None
    return await close_rental(
        tx, change.rental, change.end_at, change.end_reason, now, failed=change.failed
    )
