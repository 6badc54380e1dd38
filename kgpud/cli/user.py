"""`kgpud user`: who may rent, and with what money."""

import getpass
import os
from pathlib import Path
from typing import Any, Literal, cast

import click

from kgpud import statefolder
from kgpud.accounts import Accounts
from kgpud.cli import devenv
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
from kgpud.reasons import ADMIN_RELEASED
from kgpud.signin import SignIns
from kgpud.tokens import Tokens, load_or_create_secret
from store import rentals
from store.records import Account, LedgerLine, Role

LEDGER_LINES = 20
_QUOTA = click.IntRange(0, 10_000)


@click.group()
def user() -> None:
    """Accounts: add, approve, suspend, credit, quota, role, token."""


@user.command()
@click.argument("email")
@click.option("--name", default="", help="What people call them; the e-mail address if left out.")
@click.option("--role", type=click.Choice(["user", "maintainer"]), default="user")
@state_options
def add(email: str, name: str, role: str, state: Path | None, config: Path | None) -> None:
    """Make an account. It is pending until it is approved."""

    async def work(opened: Opened) -> Account:
        chosen = cast("Literal['user', 'maintainer']", role)
        return await _accounts(opened).add(email, name or email.partition("@")[0], chosen)

    account = run(state, config, work)
    click.echo(f"added {account.email}, {account.status}: kgpud user approve {account.email}")


@user.command("list")
@json_option
@state_options
def list_(*, as_json: bool, state: Path | None, config: Path | None) -> None:
    """List the accounts, oldest first."""
    accounts = run(state, config, lambda opened: _accounts(opened).list())
    if as_json:
        show_json([_account(account) for account in accounts])
        return
    show_table(
        ("EMAIL", "NAME", "ROLE", "STATUS", "CREDITS", "GPUS", "CPU PODS", "CREATED"),
        [
            (
                *(a.email, a.name, a.role, a.status, a.balance),
                *(a.quota_gpus, a.quota_cpu_pods, rfc3339(a.created_at)),
            )
            for a in accounts
        ],
    )


@user.command()
@click.argument("email")
@json_option
@state_options
def show(email: str, *, as_json: bool, state: Path | None, config: Path | None) -> None:
    """Show one account and the newest lines of its ledger."""

    async def work(opened: Opened) -> tuple[Account, list[LedgerLine]]:
        accounts = _accounts(opened)
        account = await accounts.find(email)
        return account, await accounts.ledger(account.account_id, LEDGER_LINES)

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
    """Let the account in, with the trial credits if it never had them."""
    account = run(state, config, lambda opened: _accounts(opened).approve(email, _who()))
    click.echo(f"{account.email} is {account.status} and has {account.balance} credits")


@user.command()
@click.argument("email")
@click.option("--release", is_flag=True, help="End its live rentals too; else they go on.")
@state_options
def suspend(email: str, *, release: bool, state: Path | None, config: Path | None) -> None:
    """Refuse the account's tokens, calls that are under way included."""
    # Loads the cluster's client library, which takes a second that the others need not wait.
    from kgpud import rentals as policy  # noqa: PLC0415

    async def work(opened: Opened) -> tuple[Account, int]:
        account = await _accounts(opened).suspend(email, _who())
        async with opened.db.reading() as rx:
            live = await rentals.newest(rx, rentals.Which(account.account_id, active=True))
        for rental in live if release else ():
            await policy.release(opened.db, opened.clock, rental.pod_id, ADMIN_RELEASED)
        return account, len(live)

    account, live = run(state, config, work)
    what = "ended" if release else "go on"
    click.echo(f"{account.email} is {account.status}; its {live} live rentals {what}")


@user.command()
@click.argument("email")
@state_options
def reinstate(email: str, state: Path | None, config: Path | None) -> None:
    """Let a suspended account in again, with the token that it had."""
    account = run(state, config, lambda opened: _accounts(opened).reinstate(email, _who()))
    click.echo(f"{account.email} is {account.status}")


@user.command()
@click.argument("email")
@click.argument("role", type=click.Choice(["user", "maintainer"]))
@state_options
def role(email: str, role: Role, state: Path | None, config: Path | None) -> None:
    """Make the account a maintainer, or a plain user again."""
    account = run(state, config, lambda opened: _accounts(opened).change(email, _who(), role=role))
    click.echo(f"{account.email} is a {account.role}")


@user.command()
@click.argument("email")
@state_options
def revoke(email: str, state: Path | None, config: Path | None) -> None:
    """Revoke the account's token, and give it no other."""

    async def work(opened: Opened) -> bool:
        account = await _accounts(opened).find(email)
        return await _tokens(opened).revoke(account.account_id)

    revoked = run(state, config, work)
    click.echo("revoked" if revoked else "it had none")


# Or a negative amount would be taken for options.
@user.command(context_settings={"ignore_unknown_options": True})
@click.argument("email")
@click.argument("amount", type=int)
@click.option("--note", required=True, help="Why, for the ledger.")
@click.option("--correction", is_flag=True, help="No top-up: it mends a mistake of ours.")
@state_options
def credit(
    email: str,
    amount: int,
    *,
    note: str,
    correction: bool,
    state: Path | None,
    config: Path | None,
) -> None:
    """Give AMOUNT credits; a negative one takes back what was given by mistake."""
    line = run(
        state,
        config,
        lambda opened: _accounts(opened).credit(
            email, amount, who=_who(), note=note, correction=correction
        ),
    )
    click.echo(f"{line.kind} {line.amount:+d}: {email} has {line.balance_after} credits")


@user.command()
@click.argument("email")
@click.option("--gpus", type=_QUOTA, help="GPUs at the same time.")
@click.option("--cpu-pods", type=_QUOTA, help="Pods without a GPU at the same time.")
@state_options
def quota(
    email: str,
    gpus: int | None,
    cpu_pods: int | None,
    state: Path | None,
    config: Path | None,
) -> None:
    """Set what the account may rent at the same time. What it has already goes on."""
    if gpus is None and cpu_pods is None:
        raise click.ClickException("say --gpus, --cpu-pods or both")
    account = run(
        state,
        config,
        lambda opened: _accounts(opened).change(
            email, _who(), quota_gpus=gpus, quota_cpu_pods=cpu_pods
        ),
    )
    click.echo(
        f"{account.email} may rent {account.quota_gpus} GPUs"
        f" and {account.quota_cpu_pods} pods without one"
    )


@user.command()
@click.argument("email")
@state_options
def token(email: str, state: Path | None, config: Path | None) -> None:
    """Print a new token, once. The account's old one is dead from then on."""

    async def work(opened: Opened) -> str:
        account = await _accounts(opened).find(email)
        return await _tokens(opened).issue(account.account_id)

    click.echo(run(state, config, work))


def _accounts(opened: Opened) -> Accounts:
    config = opened.config
    return Accounts(
        opened.db,
        opened.clock,
        trial_credits=config.trial_credits,
        quota_gpus=config.quota_gpus,
        quota_cpu_pods=config.quota_cpu_pods,
    )


def _tokens(opened: Opened) -> Tokens:
    secret = load_or_create_secret(opened.config.state / statefolder.SECRET)
    return Tokens(opened.db, opened.clock, secret=secret)


@user.command("login-link")
@click.argument("email")
@state_options
def login_link(email: str, state: Path | None, config: Path | None) -> None:
    """Print a link that signs this account in to the dashboard: once, within 15 minutes."""

    async def work(opened: Opened) -> str:
        secret = await SignIns(opened.db, opened.clock, _accounts(opened)).link(email)
        return f"{devenv.origin(opened.config)}/sign-in/link/{secret}"

    click.echo(run(state, config, work))


def _who() -> str:
    try:
        # Under sudo everybody is root.
        return f"cli:{os.environ.get('SUDO_USER') or getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


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
