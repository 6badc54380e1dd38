"""`kgpud config`: say whether a file is usable."""

from pathlib import Path

import click

from kgpud.config import DEFAULT_FILE, ConfigError, load


@click.group()
def config() -> None:
    """Check a configuration file."""


@config.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=DEFAULT_FILE,
    show_default=True,
    help="The file to check.",
)
def check(path: Path) -> None:
    """Say ok, or every mistake by its key, and exit 1."""
    try:
        load(path)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        raise click.exceptions.Exit(1) from None
    click.echo(f"{path}: ok")
