"""Signing in to the dashboard: by a one-time link, or as whom an OpenID provider vouches for.

What a link or a browser holds are 256 random bits; the store has their SHA-256 only.
"""

import hashlib
import secrets
import unicodedata
from dataclasses import dataclass

import structlog

from kgpud.accounts import Accounts, check_living
from kgpud.clock import Clock
from kgpud.errors import Code, UserError
from store import accounts, actions, signins
from store.db import Connection, Database
from store.records import Account

log = structlog.get_logger()

LINK_MS = 15 * 60_000
#: A browser is signed out after half a day without a page, and after a week whatever it does.
IDLE_MS = 12 * 3_600_000
WHOLE_MS = 7 * 86_400_000
# Each page would otherwise be a write.
_SEEN_EVERY_MS = 5 * 60_000


@dataclass(frozen=True)
class Identity:
    """Whom a provider vouches for. `email` is one that the provider has verified."""

    issuer: str
    subject: str
    email: str
    name: str


class SignIns:
    """Who is signed in to the dashboard. `approved_domains` need no maintainer's approval."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        accounts_: Accounts,
        *,
        approved_domains: tuple[str, ...] = (),
    ) -> None:
        self._db = db
        self._clock = clock
        self._accounts = accounts_
        self._domains = frozenset(domain.lower() for domain in approved_domains)

    async def link(self, email_or_id: str, who: str) -> str:
        """Return the secret of a link that signs this account in once, within 15 minutes.

        Whoever has it can act as the account: that `who` asked for it goes on record.
        """
        account = await self._accounts.find(email_or_id)
        check_living(account)
        secret = secrets.token_urlsafe(32)
        async with self._db.transaction() as tx:
            now = self._clock.now_ms()
            await signins.add_link(tx, _hash(secret), account.account_id, now + LINK_MS)
            await actions.add(tx, "link_made", who, account.account_id, at=now)
        return secret

    async def by_link(self, secret: str) -> str:
        """Use a link up and return a browser's secret. Raises UserError SIGN_IN_FAILED."""
        async with self._db.transaction() as tx:
            account_id = await signins.take_link(tx, _hash(secret), self._clock.now_ms())
            if account_id is None:
                raise UserError(
                    Code.SIGN_IN_FAILED,
                    "this link was used already or is older than 15 minutes: ask for a new one",
                )
            return await self._begin(tx, account_id, "link")

    async def by_identity(self, identity: Identity) -> str:
        """Return a browser's secret for whom a provider vouches; an unknown one gets an account.

        That account waits for approval unless its domain is approved in the configuration.
        """
        account = await self._account_of(identity)
        domain = account.email.rpartition("@")[2].lower()
        if account.status == "pending" and domain in self._domains:
            who = f"domain {domain}"
            await self._accounts.approve(account.account_id, who, only_pending=True)
        async with self._db.transaction() as tx:
            return await self._begin(tx, account.account_id, identity.issuer)

    async def account(self, browser: str, *, in_use: bool = True) -> Account | None:
        """Return who uses a browser, whatever the account's status; None if nobody does.

        A page that looks for news by itself is not `in_use`: nobody may be there.
        """
        now = self._clock.now_ms()
        async with self._db.reading() as rx:
            found = await signins.find(
                rx, _hash(browser), created_after=now - WHOLE_MS, seen_after=now - IDLE_MS
            )
        if found is None:
            return None
        account, seen_at = found
        if in_use and now - seen_at > _SEEN_EVERY_MS:
            async with self._db.transaction() as tx:
                await signins.see(tx, _hash(browser), now)
        return account

    async def end(self, browser: str) -> None:
        """Sign a browser out."""
        async with self._db.transaction() as tx:
            await signins.end(tx, _hash(browser))

    async def _account_of(self, identity: Identity) -> Account:
        """Return the identity's account: bound before, of its e-mail address, or a new one.

        An address that the provider has given to somebody else meanwhile opens nothing: OpenID
        Connect Core 5.7 calls issuer and subject alone stable.
        """
        issuer, subject = identity.issuer, identity.subject
        # One spelling of an address, or each would have trial credits of its own.
        email = unicodedata.normalize("NFC", identity.email.strip()).lower()
        async with self._db.transaction() as tx:
            bound = await signins.account_of_identity(tx, issuer, subject)
            account = await accounts.find(tx, bound or email)
            if account is None:
                account = self._accounts.draft(email, identity.name)
                await accounts.insert(tx, account)
                log.info("account.added", account=account.account_id, role=account.role)
            elif bound is None and await signins.has_identity(tx, issuer, account.account_id):
                raise UserError(
                    Code.SIGN_IN_FAILED,
                    "this e-mail address has an account that somebody else signs in to:"
                    " ask a maintainer",
                )
            if bound is None:
                now = self._clock.now_ms()
                await signins.add_identity(tx, issuer, subject, account.account_id, now)
        return account

    async def _begin(self, tx: Connection, account_id: str, by: str) -> str:
        now = self._clock.now_ms()
        account = await accounts.find(tx, account_id)
        if account is None or account.status == "deleted":
            raise UserError(Code.SIGN_IN_FAILED, "this account was deleted: ask a maintainer")
        secret = secrets.token_urlsafe(32)
        await signins.sweep(tx, now, created_before=now - WHOLE_MS, seen_before=now - IDLE_MS)
        await signins.begin(tx, _hash(secret), account_id, now)
        log.info("sign_in", account=account_id, by=by)
        return secret


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
