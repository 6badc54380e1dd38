"""What the commands that work on the store share: finding it, opening it, failing in one line."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import structlog

from kgpud import statefolder
from kgpud.clock import SystemClock
from kgpud.config import DEFAULT_FILE, Config, ConfigError, load
from kgpud.errors import UserError
from store.db import Connection, Database, StoreUnavailable
from store.migrate import TooNew, TooOld

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Opened:
    """An open store, and what the configuration says about it."""

    db: Database
    config: Config
    clock: SystemClock


def state_options(command: Command) -> Command:
    """Add ``--state`` and ``--config``, which say which installation is meant."""
    for option in (
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help=f"The daemon's configuration; {DEFAULT_FILE} if it exists.",
        ),
        click.option(
            "--state",
            type=click.Path(path_type=Path),
            help="The daemon's state folder, instead of the configured one.",
        ),
    ):
        command = option(command)
    return command


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable.")(command)


def run(state: Path | None, config: Path | None, work: Callable[[Opened], Awaitable[T]]) -> T:
    """Open the store that the options name, do the work, and close it.

    Works while the daemon runs: they are two processes on one SQLite file. Raises ClickException
    with one line for whatever a person can mend.
    """

    async def opened(path: Path, settings: Config) -> T:
        if not os.access(path, os.R_OK | os.W_OK):
            raise _not_yours(path)
        async with Database.open(path) as db:
            return await work(Opened(db, settings, SystemClock()))

    return _run(state, config, opened)


def look(state: Path | None, config: Path | None, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do work that only reads, on the one state that the store has now. Raises as `run` does."""

    async def opened(path: Path, _settings: Config) -> T:
        async with Database.snapshot(path) as connection:
            return await work(connection)

    return _run(state, config, opened)


def _run(
    state: Path | None, config: Path | None, opened: Callable[[Path, Config], Awaitable[T]]
) -> T:
    _quiet()
    try:
        return asyncio.run(_on_the_store(configured(state, config), opened))
    except (UserError, ConfigError, TooNew, TooOld, StoreUnavailable) as error:
        raise click.ClickException(str(error).replace("\n", "; ")) from None
    except PermissionError as error:
        raise _not_yours(error.filename) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'state'}: {error.strerror}") from None
    except (click.ClickException, KeyboardInterrupt):
        raise
    except Exception as error:
        # A damaged database, say. Whoever hunts a bug of ours wants the whole story.
        if os.environ.get("KGPUD_DEBUG"):
            raise
        message = f"{type(error).__name__}: {error} (KGPUD_DEBUG=1 shows where)"
        raise click.ClickException(message.replace("\n", " ")) from None


def _not_yours(path: object) -> click.ClickException:
    return click.ClickException(f"{path} is not yours to use: run this as the daemon's user")


async def _on_the_store(settings: Config, opened: Callable[[Path, Config], Awaitable[T]]) -> T:
    path = settings.state / statefolder.DATABASE
    if not path.exists():
        raise click.ClickException(f"{path} does not exist: start the daemon once, or see --state")
    return await opened(path, settings)


def configured(state: Path | None, config: Path | None) -> Config:
    """Return the configuration that ``--state`` and ``--config`` mean. Raises ConfigError."""
    if config is None and DEFAULT_FILE.exists():
        config = DEFAULT_FILE
    if config is not None:
        loaded = load(config)
        return loaded if state is None else replace(loaded, state=state.absolute())
    if state is None:
        raise click.ClickException(
            f"{DEFAULT_FILE} does not exist: say --config FILE or --state DIR"
            " (kgpud dev keeps its state in .dev)"
        )
    return Config(state=state.absolute())


def _quiet() -> None:
    """Keep what the services log away from stdout, which is the command's answer."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def show_json(data: object) -> None:
    """Print as JSON."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def show_fields(fields: Mapping[str, object]) -> None:
    """Print one field a line."""
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        click.echo(f"{name.ljust(width)}  {_cell(value)}")


def show_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a header, in columns as wide as they need."""
    cells = [[_cell(value) for value in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    return printable("-" if value is None or value == "" else str(value))


def printable(text: str) -> str:
    """Return a text that a terminal does not obey: names were chosen by strangers."""
    return "".join(c if c.isprintable() else "?" for c in text)
