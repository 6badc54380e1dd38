"""Accounts and their credits: who may rent, and every change of a balance that isn't usage."""

import re
import secrets
from collections.abc import Sequence

import structlog

from kgpud.clock import Clock
from kgpud.errors import Code, UserError
from store import accounts, actions, ledger
from store.db import Connection, Database
from store.records import Account, AccountStatus, ActionKind, LedgerKind, LedgerLine, Role

log = structlog.get_logger()


class Accounts:
    """What is done to accounts. Every method raises UserError where it says no.

    Each change goes on record, with who made it, in the transaction that makes it.
    Nothing but `reinstate` changes an account that was deleted: CONFLICT.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        trial_credits: int,
        quota_gpus: int,
        quota_cpu_pods: int,
    ) -> None:
        self._db = db
        self._clock = clock
        self._trial_credits = trial_credits
        self._quota_gpus = quota_gpus
        self._quota_cpu_pods = quota_cpu_pods

    async def add(self, email: str, name: str, role: Role = "user", *, who: str) -> Account:
        """Make a pending account without credits.

        Raises DUPLICATE if the address has one, VALIDATION_FAILED if it is none.
        """
        account = self.draft(email, name, role)
        async with self._db.transaction() as tx:
            if await accounts.find(tx, account.email) is not None:
                raise UserError(
                    Code.DUPLICATE, "this e-mail address has an account already", field="email"
                )
            await accounts.insert(tx, account)
            at = account.created_at
            await actions.add(tx, "added", who, account.account_id, f"role {role}", at=at)
        log.info("account.added", account=account.account_id, role=role, who=who)
        return account

    def draft(self, email: str, name: str, role: Role = "user") -> Account:
        """Return a new pending account that is not in the store yet. VALIDATION_FAILED."""
        if not re.fullmatch(r"[^\s@]+@[^\s@]+", email.strip()) or not email.isprintable():
            raise UserError(Code.VALIDATION_FAILED, "that is not an e-mail address", field="email")
        return Account(
            account_id=f"acct_{secrets.token_hex(8)}",
            email=email.strip(),
            name=name.strip(),
            role=role,
            status="pending",
            quota_gpus=self._quota_gpus,
            quota_cpu_pods=self._quota_cpu_pods,
            balance=0,
            created_at=self._clock.now_ms(),
            approved_at=None,
        )

    async def approve(self, email_or_id: str, who: str, *, only_pending: bool = False) -> Account:
        """Let the account rent; its trial credits come with the first approval only.

        With `only_pending` one that somebody has decided about meanwhile stays as it is.
        """
        now = self._clock.now_ms()
        async with self._db.transaction() as tx:
            account = await _living(tx, email_or_id)
            if only_pending and account.status != "pending":
                return account
            await accounts.set_status(tx, account.account_id, "approved", now)
            if account.approved_at is None:
                await self._give_trial_credits(tx, account.account_id, who, now)
            account = await self._changed(tx, "approved", who, account)
        log.info("account.approved", account=account.account_id, who=who)
        return account

    async def suspend(self, email_or_id: str, who: str) -> Account:
        """Refuse the account's tokens from now on. Its rentals go on until they are released."""
        async with self._db.transaction() as tx:
            account = await _living(tx, email_or_id)
            await accounts.set_status(tx, account.account_id, "suspended", None)
            account = await self._changed(tx, "suspended", who, account)
        log.info("account.suspended", account=account.account_id, who=who)
        return account

    async def reinstate(self, email_or_id: str, who: str) -> Account:
        """Let a suspended or deleted account in again, with what its ledger left it.

        A deleted one has no token any more, and gets no second trial credits. CONFLICT for others.
        """
        async with self._db.transaction() as tx:
            account = await _found(tx, email_or_id)
            if account.status not in ("suspended", "deleted"):
                raise UserError(Code.CONFLICT, f"this account is {account.status}, not suspended")
            # One that was never approved still waits for that.
            status: AccountStatus = "approved" if account.approved_at is not None else "pending"
            await accounts.set_status(tx, account.account_id, status, None)
            account = await self._changed(tx, "reinstated", who, account)
        log.info("account.reinstated", account=account.account_id, who=who)
        return account

    async def change(
        self,
        email_or_id: str,
        who: str,
        *,
        quota_gpus: int | None = None,
        quota_cpu_pods: int | None = None,
        role: Role | None = None,
    ) -> Account:
        """Change what is given. What an account rents already goes on above a smaller quota."""
        async with self._db.transaction() as tx:
            account = await _living(tx, email_or_id)
            await accounts.set_quota(tx, account.account_id, quota_gpus, quota_cpu_pods)
            if role is not None:
                await accounts.set_role(tx, account.account_id, role)
            account = await self._changed(tx, "changed", who, account)
        log.info(
            "account.changed",
            account=account.account_id,
            quota_gpus=account.quota_gpus,
            quota_cpu_pods=account.quota_cpu_pods,
            role=account.role,
            who=who,
        )
        return account

    async def credit(
        self, email_or_id: str, amount: int, *, who: str, note: str, correction: bool = False
    ) -> LedgerLine:
        """Top up, or correct in either direction, but never below 0.

        What takes credits away is always a correction.
        """
        async with self._db.transaction() as tx:
            account = await _living(tx, email_or_id)
            if amount == 0 or account.balance + amount < 0:
                raise UserError(
                    Code.VALIDATION_FAILED,
                    f"the amount must not be 0 nor take the balance of {account.balance} below 0",
                    field="amount",
                )
            kind: LedgerKind = "correction" if correction or amount < 0 else "topup"
            at, account_id = self._clock.now_ms(), account.account_id
            line = await ledger.add(tx, account_id, amount, at=at, kind=kind, who=who, note=note)
            await self._changed(tx, "credited", who, account)
        log.info("account.credited", account=account.account_id, amount=amount, who=who)
        return line

    async def find(self, email_or_id: str) -> Account:
        """Return an account by e-mail address or id. NOT_FOUND."""
        async with self._db.reading() as rx:
            return await _found(rx, email_or_id)

    async def ledger(
        self, account_id: str, limit: int, before: int | None = None
    ) -> list[LedgerLine]:
        """Return an account's ledger, newest line first; from below line `before` if given."""
        async with self._db.reading() as rx:
            return await ledger.newest(rx, account_id, limit, before)

    async def decided(self, limit: int) -> Sequence[tuple[LedgerLine, str]]:
        """Return the newest credits that people gave or took, with whose account it was."""
        async with self._db.reading() as rx:
            return await ledger.decided(rx, limit)

    async def newest(
        self,
        limit: int,
        *,
        status: AccountStatus | None = None,
        before: tuple[int, str] | None = None,
    ) -> Sequence[Account]:
        """Return accounts, newest first; `before` is a creation time and id to go on after."""
        async with self._db.reading() as rx:
            return await accounts.newest(rx, limit, status=status, before=before)

    async def list(self, status: AccountStatus | None = None) -> list[Account]:
        """Return all accounts but deleted ones, or those of one status, oldest first."""
        async with self._db.reading() as rx:
            return await accounts.every(rx, status)

    async def emails(self) -> dict[str, str]:
        """Return the e-mail address of every account, deleted ones included, by its id."""
        async with self._db.reading() as rx:
            return await accounts.emails(rx)

    async def _give_trial_credits(
        self, tx: Connection, account_id: str, who: str, now: int
    ) -> None:
        if self._trial_credits > 0:
            given, note = self._trial_credits, "trial credits"
            await ledger.add(tx, account_id, given, at=now, kind="trial", who=who, note=note)

    async def _changed(
        self, tx: Connection, action: ActionKind, who: str, before: Account
    ) -> Account:
        """Return what became of an account, and put it on record if that is anything new."""
        after = await _found(tx, before.account_id)
        if after != before:
            changes, at = _changes(before, after), self._clock.now_ms()
            await actions.add(tx, action, who, after.account_id, changes, at=at)
        return after


def _changes(before: Account, after: Account) -> str:
    """Say what changed: ``status pending -> approved, credits 0 -> 100000``."""
    values = {
        "status": (before.status, after.status),
        "role": (before.role, after.role),
        "quota_gpus": (before.quota_gpus, after.quota_gpus),
        "quota_cpu_pods": (before.quota_cpu_pods, after.quota_cpu_pods),
        "credits": (before.balance, after.balance),
    }
    return ", ".join(f"{name} {old} -> {new}" for name, (old, new) in values.items() if old != new)


async def _found(conn: Connection, email_or_id: str) -> Account:
    account = await accounts.find(conn, email_or_id.strip())
    if account is None:
        raise UserError(Code.NOT_FOUND, "there is no such account")
    return account


async def _living(conn: Connection, email_or_id: str) -> Account:
    account = await _found(conn, email_or_id)
    check_living(account)
    return account


def check_living(account: Account) -> None:
    """Raise CONFLICT for an account that was deleted."""
    if account.status == "deleted":
        raise UserError(Code.CONFLICT, "this account was deleted: reinstate it first")
