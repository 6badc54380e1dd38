"""`kgpud reload`: a running daemon's successor, without an end to anybody's session."""

from pathlib import Path

import click

from kgpud import reloading
from kgpud.cli.failing import one_line
from kgpud.cli.state import configured, state_options


@click.command()
@state_options
def reload(state: Path | None, config: Path | None) -> None:
    """Have the running daemon hand over to a new process: a new version, a new configuration.

    No connection is refused and no session ends: the old process keeps those that it has until
    they end. If the new one can't serve, the old one goes on, and this says why.
    """
    with one_line():
        pid = reloading.ask(configured(state, config).state)
    click.echo(f"kgpud serves as pid {pid}; sessions that were open go on")
