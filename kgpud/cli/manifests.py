"""`kgpud manifests`: what a cluster needs before the daemon can use it."""

from pathlib import Path

import click
import yaml

from kgpud.cli.failing import one_line
from kgpud.config import DEFAULT_FILE, Config, load


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help=f"The daemon's configuration; {DEFAULT_FILE} if it exists, else the defaults.",
)
def manifests(path: Path | None) -> None:
    """Print the namespace, roles, network policy and the rest, for `kubectl apply -f -`."""
    # Imported here: what it leads to takes a second that `--help` need not wait.
    from kgpud.cluster import install  # noqa: PLC0415

    with one_line():
        found = path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
        config = Config() if found is None else load(found)
    click.echo(
        f"# kgpud's manifests, version {install.VERSION}: kgpud manifests | kubectl apply -f -"
    )
    for service in install.named_services(config):
        click.echo(
            f"# Pods use {service}: if that name has a private address, put it into network.allow."
        )
    text = yaml.safe_dump_all(install.documents(config), sort_keys=False, width=100)
    click.echo(text, nl=False)
