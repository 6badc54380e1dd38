"""`kgpud db`: the store itself."""

from pathlib import Path

import click

from kgpud.cli.state import look, state_options
from store import check as proof
from store.db import Connection


@click.group()
def db() -> None:
    """Look after the store."""


@db.command()
@state_options
def check(state: Path | None, config: Path | None) -> None:
    """Prove that every balance, bill, minute and row agrees. Each that doesn't is a line.

    Changes nothing and works while the daemon runs. Exits with 0 only if all agrees.
    """

    async def work(rx: Connection) -> tuple[list[str], str]:
        wrong = await proof.damage(rx) or await proof.disagreements(rx)
        return wrong, await proof.extent(rx)

    wrong, extent = look(state, config, work)
    for line in wrong:
        click.echo(line)
    if wrong:
        raise click.ClickException(f"{len(wrong)} disagreements in {extent}")
    click.echo(f"ok: {extent}, and all agree")
