"""`kgpud user`: who may rent, and with what money."""

import secrets
from pathlib import Path
from typing import Any, Literal, cast, get_args

import click

from kgpud import deletion, releasing
from kgpud.cli import devenv, user_log, user_money
from kgpud.cli.keeper import accounts, who
from kgpud.cli.state import (
    Opened,
    json_option,
    run,
    show_fields,
    show_json,
    show_table,
    state_options,
)
from kgpud.clock import rfc3339
from kgpud.signin import SignIns
from kgpud.tokens import Tokens
from store import rentals
from store.records import Account, AccountStatus, LedgerLine, Role

LEDGER_LINES = 20


@click.group()
def user() -> None:
    """Accounts: add, approve, suspend, delete, credit, quota, role, token, log."""


user.add_command(user_money.credit)
user.add_command(user_money.quota)
user.add_command(user_log.log)


@user.command()
@click.argument("email")
@click.option("--name", default="", help="What people call them; the e-mail address if left out.")
@click.option("--role", type=click.Choice(["user", "maintainer"]), default="user")
@state_options
def add(email: str, name: str, role: str, state: Path | None, config: Path | None) -> None:
    """Make an account. It is pending until it is approved."""

    async def work(opened: Opened) -> Account:
        chosen = cast("Literal['user', 'maintainer']", role)
        return await accounts(opened).add(email, name or email.partition("@")[0], chosen, who=who())

    account = run(state, config, work)
    click.echo(f"added {account.email}, {account.status}: kgpud user approve {account.email}")


@user.command("list")
@click.option("--status", type=click.Choice(get_args(AccountStatus)), help="Only those.")
@json_option
@state_options
def list_(
    *, status: AccountStatus | None, as_json: bool, state: Path | None, config: Path | None
) -> None:
    """List the accounts, oldest first. Deleted ones only with --status deleted."""
    found = run(state, config, lambda opened: accounts(opened).list(status))
    if as_json:
        show_json([_account(account) for account in found])
        return
    show_table(
        ("EMAIL", "NAME", "ROLE", "STATUS", "CREDITS", "GPUS", "CPU PODS", "CREATED"),
        [
            (
                *(a.email, a.name, a.role, a.status, a.balance),
                *(a.quota_gpus, a.quota_cpu_pods, rfc3339(a.created_at)),
            )
            for a in found
        ],
    )


@user.command()
@click.argument("email")
@json_option
@state_options
def show(email: str, *, as_json: bool, state: Path | None, config: Path | None) -> None:
    """Show one account and the newest lines of its ledger."""

    async def work(opened: Opened) -> tuple[Account, list[LedgerLine]]:
        service = accounts(opened)
        account = await service.find(email)
        return account, await service.ledger(account.account_id, LEDGER_LINES)

    account, lines = run(state, config, work)
    if as_json:
        show_json({**_account(account), "ledger": [_line(line) for line in lines]})
        return
    show_fields(_account(account))
    click.echo()
    show_table(
        ("AT", "KIND", "AMOUNT", "BALANCE", "POD", "WHO", "NOTE"),
        [
            (rfc3339(x.at), x.kind, f"{x.amount:+d}", x.balance_after, x.pod_id, x.who, x.note)
            for x in lines
        ],
    )


@user.command()
@click.argument("email")
@state_options
def approve(email: str, state: Path | None, config: Path | None) -> None:
    """Let the account in. The first time it gets its trial credits."""
    account = run(state, config, lambda opened: accounts(opened).approve(email, who()))
    click.echo(f"{account.email} is {account.status} and has {account.balance} credits")


@user.command()
@click.argument("email")
@click.option("--release", is_flag=True, help="End its live rentals too; else they go on.")
@state_options
def suspend(email: str, *, release: bool, state: Path | None, config: Path | None) -> None:
    """Refuse the account's tokens. Calls that are under way end as well."""

    async def work(opened: Opened) -> tuple[Account, int]:
        account = await accounts(opened).suspend(email, who())
        async with opened.db.reading() as rx:
            live = await rentals.newest(rx, rentals.Which(account.account_id, active=True))
        for rental in live if release else ():
            await releasing.force(opened.db, opened.clock, rental.pod_id, who())
        return account, len(live)

    account, live = run(state, config, work)
    what = "ended" if release else "go on"
    click.echo(f"{account.email} is {account.status}; its {live} live rentals {what}")


@user.command()
@click.argument("email")
@click.option("--yes", is_flag=True, help="Don't ask.")
@state_options
def delete(email: str, *, yes: bool, state: Path | None, config: Path | None) -> None:
    """Delete the account: token, sign-ins, live rentals and objects. Its books stay."""
    if not yes:
        click.confirm(f"Delete {email}, end its rentals, delete its objects?", abort=True)
    account, ended = run(
        state, config, lambda opened: deletion.delete(opened.db, opened.clock, email, who())
    )
    click.echo(f"{account.email} is {account.status}; {len(ended)} live rentals ended")
    click.echo("a running daemon deletes its pods and objects within a minute")


@user.command()
@click.argument("email")
@state_options
def reinstate(email: str, state: Path | None, config: Path | None) -> None:
    """Let a suspended account in again, with its token. A deleted one has none any more."""
    account = run(state, config, lambda opened: accounts(opened).reinstate(email, who()))
    click.echo(f"{account.email} is {account.status}")


@user.command()
@click.argument("email")
@click.argument("role", type=click.Choice(["user", "maintainer"]))
@state_options
def role(email: str, role: Role, state: Path | None, config: Path | None) -> None:
    """Make the account a maintainer, or a plain user again."""
    account = run(state, config, lambda opened: accounts(opened).change(email, who(), role=role))
    click.echo(f"{account.email} is a {account.role}")


@user.command()
@click.argument("email")
@state_options
def revoke(email: str, state: Path | None, config: Path | None) -> None:
    """Revoke the account's token, and give it no other."""

    async def work(opened: Opened) -> bool:
        account = await accounts(opened).find(email)
        return await _tokens(opened).revoke(account.account_id, who())

    revoked = run(state, config, work)
    click.echo("revoked" if revoked else "it had none")


@user.command()
@click.argument("email")
@state_options
def token(email: str, state: Path | None, config: Path | None) -> None:
    """Print a new token, once. The account's old one is dead from then on."""

    async def work(opened: Opened) -> str:
        account = await accounts(opened).find(email)
        return await _tokens(opened).issue(account.account_id, who())

    click.echo(run(state, config, work))


def _tokens(opened: Opened) -> Tokens:
    # The daemon's own secret signs what pods are given, and nobody is given that here.
    return Tokens(opened.db, opened.clock, secret=secrets.token_bytes(32))


@user.command("login-link")
@click.argument("email")
@state_options
def login_link(email: str, state: Path | None, config: Path | None) -> None:
    """Print a link into the dashboard. It signs the account in once, within 15 minutes."""

    async def work(opened: Opened) -> str:
        secret = await SignIns(opened.db, opened.clock, accounts(opened)).link(email, who())
        return f"{devenv.origin(opened.config)}/sign-in/link/{secret}"

    click.echo(run(state, config, work))


def _account(account: Account) -> dict[str, Any]:
    return {
        "user_id": account.account_id,
        "email": account.email,
        "name": account.name,
        "role": account.role,
        "status": account.status,
        "credits": account.balance,
        "quota_gpus": account.quota_gpus,
        "quota_cpu_pods": account.quota_cpu_pods,
        "created_at": rfc3339(account.created_at),
        "approved_at": None if account.approved_at is None else rfc3339(account.approved_at),
    }


def _line(line: LedgerLine) -> dict[str, Any]:
    return {
        "id": line.id,
        "at": rfc3339(line.at),
        "kind": line.kind,
        "amount": line.amount,
        "balance_after": line.balance_after,
        "pod_id": line.pod_id,
        "minutes": line.minutes,
        "who": line.who,
        "note": line.note,
    }
