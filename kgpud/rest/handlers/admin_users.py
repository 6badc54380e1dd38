"""Accounts, for maintainers."""

from typing import Any

from kgpud.clock import rfc3339
from kgpud.errors import Code, UserError
from kgpud.rest.call import Call
from kgpud.rest.shapes.admin import (
    CreditChange,
    Credited,
    NewToken,
    NewUser,
    Suspension,
    TokenRevoked,
    User,
    UserChange,
    UserQuery,
)
from kgpud.rest.shapes.pages import Page, page
from store.records import Account
from store.rentals import Which


async def list_users(call: Call[None, UserQuery]) -> Page[User]:
    """List the accounts, newest first; deleted ones only where that status is asked for."""
    query = call.query
    found = await call.services.accounts.newest(
        query.limit + 1, status=query.status, before=query.cursor
    )
    return page(found, query.limit, lambda one: (one.created_at, one.account_id), _user)


async def add_user(call: Call[NewUser]) -> User:
    """Make an account. It is pending until it is approved."""
    body = call.body
    name = body.name or body.email.partition("@")[0]
    return _user(await call.services.accounts.add(body.email, name, body.role, who=call.who))


async def get_user(call: Call) -> User:
    """Show one account."""
    return _user(await _named(call))


async def change_user(call: Call[UserChange]) -> User:
    """Change an account's quota or role."""
    if call.body.role is not None:
        await _somebody_else(call)
    changed = await call.services.accounts.change(
        call.path["user"],
        call.who,
        quota_gpus=call.body.quota_gpus,
        quota_cpu_pods=call.body.quota_cpu_pods,
        role=call.body.role,
    )
    return _user(changed)


async def approve_user(call: Call) -> User:
    """Let an account in, with the trial credits if it never had them."""
    return _user(await call.services.accounts.approve(call.path["user"], call.who))


async def suspend_user(call: Call[Suspension]) -> User:
    """Refuse an account's tokens from now on, the calls that are under way included.

    Its rentals, and SSH into them, go on and are charged until they are released here or the
    credits are used up; with `release` they end now.
    """
    await _somebody_else(call)
    services = call.services
    account = await services.accounts.suspend(call.path["user"], call.who)
    if call.body.release:
        for rental in await services.rentals.list(Which(account.account_id, active=True)):
            await services.rentals.force_release(rental.pod_id, call.who)
        account = await services.accounts.find(account.account_id)
    return _user(account)


async def reinstate_user(call: Call) -> User:
    """Let a suspended account in again, with its token; a deleted one has none any more."""
    return _user(await call.services.accounts.reinstate(call.path["user"], call.who))


async def delete_user(call: Call) -> User:
    """Delete an account; one that was deleted before stays so.

    Its token and its sign-ins are dead, its rentals ended (`admin_released`), and its objects gone
    when this answers, unless the object store is away: they are deleted once it is back. The
    ledger and the list of its rentals stay. The address can't sign up again; a maintainer may
    reinstate the account, without a second trial.
    """
    await _somebody_else(call)
    services = call.services
    account = await services.rentals.delete_account(call.path["user"], call.who)
    if services.transit is not None:
        await services.transit.objects.purge(account.account_id)
    return _user(account)


async def credit_user(call: Call[CreditChange]) -> Credited:
    """Top up an account, or take back what was given by mistake."""
    body = call.body
    line = await call.services.accounts.credit(
        call.path["user"], body.amount, who=call.who, note=body.note
    )
    return Credited(
        id=line.id,
        at=rfc3339(line.at),
        kind=line.kind,
        amount=line.amount,
        balance_after=line.balance_after,
        who=line.who,
        note=line.note,
    )


async def issue_token(call: Call) -> NewToken:
    """Mint a new token for an account. The old one is dead from then on."""
    account = await _named(call)
    token = await call.services.tokens.issue(account.account_id, call.who)
    return NewToken(user_id=account.account_id, token=token)


async def revoke_token(call: Call) -> TokenRevoked:
    """Revoke an account's token, and give it no other."""
    account = await _named(call)
    revoked = await call.services.tokens.revoke(account.account_id, call.who)
    return TokenRevoked(user_id=account.account_id, revoked=revoked)


async def _named(call: Call[Any, Any]) -> Account:
    return await call.services.accounts.find(call.path["user"])


async def _somebody_else(call: Call[Any, Any]) -> None:
    if (await _named(call)).account_id == call.account.account_id:
        raise UserError(Code.CONFLICT, "this is your own account: have another maintainer do that")


def _user(account: Account) -> User:
    return User(
        user_id=account.account_id,
        email=account.email,
        name=account.name,
        role=account.role,
        status=account.status,
        credits=account.balance,
        quota_gpus=account.quota_gpus,
        quota_cpu_pods=account.quota_cpu_pods,
        created_at=rfc3339(account.created_at),
        approved_at=None if account.approved_at is None else rfc3339(account.approved_at),
    )
