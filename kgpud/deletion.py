"""Deleting an account: what it may do and what it keeps here ends, its books stay."""

import structlog

from kgpud import clocksteps
from kgpud.clock import Clock
from kgpud.errors import Code, UserError
from kgpud.metering import Ended, close_rental
from kgpud.reasons import ADMIN_RELEASED
from store import accounts, actions, objects, rentals, signins, tokens
from store.db import Connection, Database
from store.records import Account
from store.rentals import Which

log = structlog.get_logger()


async def delete(
    db: Database, clock: Clock, email_or_id: str, who: str
) -> tuple[Account, list[Ended]]:
    """Delete an account; return it, and its rentals that ended with it. NOT_FOUND.

    One transaction, so that a crash leaves all of it or nothing; pods and objects' bytes are then
    swept. Its ledger, rentals and e-mail address stay: who signs up with that address again has
    the old account, which a maintainer may reinstate, and no second trial credits. One that was
    deleted before stays as it is.
    """
    async with db.transaction() as tx:
        now = await clocksteps.now(tx, clock)
        account = await accounts.find(tx, email_or_id.strip())
        if account is None:
            raise UserError(Code.NOT_FOUND, "there is no such account")
        if account.status == "deleted":
            return account, []
        ended = await _end_all(tx, account.account_id, now)
        detail = f"status {account.status} -> deleted, {len(ended)} live rentals ended"
        await actions.add(tx, "deleted", who, account.account_id, detail, at=now)
        deleted = await accounts.find(tx, account.account_id)
        assert deleted is not None
    log.info("account.deleted", account=deleted.account_id, who=who)
    return deleted, ended


async def _end_all(tx: Connection, account_id: str, now: int) -> list[Ended]:
    await accounts.delete(tx, account_id, now)
    await tokens.revoke(tx, account_id, now)
    await signins.end_all(tx, account_id)
    await signins.take_links_back(tx, account_id)
    live = await rentals.newest(tx, Which(account_id, active=True))
    ended = [await close_rental(tx, one, now, ADMIN_RELEASED, now) for one in live]
    await objects.end_all(tx, account_id, now)
    return ended
