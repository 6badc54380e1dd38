"""`kgpud user credit` and `quota`: with what money, and how much at a time."""

from pathlib import Path

import click

from kgpud.catalog_settings import CREDITS_LIMIT
from kgpud.cli.keeper import accounts, who
from kgpud.cli.state import run, state_options

_QUOTA = click.IntRange(0, 10_000)
_AMOUNT = click.IntRange(-CREDITS_LIMIT, CREDITS_LIMIT)


# Or a negative amount would be taken for options.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("email")
@click.argument("amount", type=_AMOUNT)
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
    """Give AMOUNT credits. A negative one takes back what was given by mistake."""
    line = run(
        state,
        config,
        lambda opened: accounts(opened).credit(
            email, amount, who=who(), note=note, correction=correction
        ),
    )
    click.echo(f"{line.kind} {line.amount:+d}: {email} has {line.balance_after} credits")


@click.command()
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
        lambda opened: accounts(opened).change(
            email, who(), quota_gpus=gpus, quota_cpu_pods=cpu_pods
        ),
    )
    click.echo(
        f"{account.email} may rent {account.quota_gpus} GPUs"
        f" and {account.quota_cpu_pods} pods without one"
    )
