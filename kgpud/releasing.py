"""Ending a rental because somebody says so: its owner, or a maintainer or operator."""

from kgpud import clocksteps
from kgpud.clock import Clock
from kgpud.errors import Code, UserError
from kgpud.metering import Ended, close_rental
from kgpud.reasons import ADMIN_RELEASED
from store import actions, rentals
from store.db import Connection, Database
from store.records import Rental


async def release(
    db: Database, clock: Clock, account_id: str | None, pod_id: str, reason: str
) -> tuple[Rental, Ended | None]:
    """End a rental, anybody's if `account_id` is None. NOT_FOUND.

    Returns how it ended too; None for one that had ended before, which stays as it is. Where
    there is no cluster at hand, the daemon does what follows.
    """
    async with db.transaction() as tx:
        # The time first: it is also when rows are set to the clock as it is now.
        now = await clocksteps.now(tx, clock)
        return await _end(tx, await owned(tx, account_id, pod_id), now, reason)


async def force(db: Database, clock: Clock, pod_id: str, who: str) -> tuple[Rental, Ended | None]:
    """End anybody's rental as `release` does, and put on record that `who` did."""
    async with db.transaction() as tx:
        now = await clocksteps.now(tx, clock)
        rental, ended = await _end(tx, await owned(tx, None, pod_id), now, ADMIN_RELEASED)
        # If the credits were used up before, nobody did.
        if ended is not None and ended.reason == ADMIN_RELEASED:
            await actions.add(tx, "released", who, rental.account_id, at=now, pod_id=pod_id)
    return rental, ended


async def owned(conn: Connection, account_id: str | None, pod_id: str) -> Rental:
    """Return a rental, anybody's if `account_id` is None. NOT_FOUND."""
    rental = await rentals.get(conn, pod_id)
    if rental is None or (account_id is not None and rental.account_id != account_id):
        raise UserError(Code.NOT_FOUND, "there is no such pod")
    return rental


async def _end(
    tx: Connection, rental: Rental, now: int, reason: str
) -> tuple[Rental, Ended | None]:
    if rental.ended_at is not None:
        return rental, None
    ended = await close_rental(tx, rental, now, reason, now)
    return await owned(tx, None, rental.pod_id), ended
