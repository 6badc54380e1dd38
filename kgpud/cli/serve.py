"""`kgpud serve`: the daemon on a configured cluster."""

import asyncio
import sys
from pathlib import Path

import click

from kgpud import daemon, logs, statefolder
from kgpud.cli.failing import one_line
from kgpud.clock import SystemClock
from kgpud.config import DEFAULT_FILE, Config, load
from kgpud.notify import notify
from kgpud.signals import stop_signals


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=DEFAULT_FILE,
    show_default=True,
    help="What `kgpud config check` checks.",
)
def serve(path: Path) -> None:
    """Run the daemon on a configured cluster: a kubeconfig's, or the one it runs in."""
    with one_line():
        config = load(path)
        logs.configure(config.log.level, sys.stderr)
        asyncio.run(_serve(config))


async def _serve(config: Config) -> None:
    with statefolder.locked(config.state), stop_signals() as stop:
        sockets = daemon.Sockets(daemon.bind(config.http.listen), daemon.bind(config.ssh.listen))
        async with daemon.running(config, sockets, SystemClock(), hurry=stop.hurry) as running:
            click.echo(f"kgpud serves {running.api_base} and ssh on {running.ssh}", err=True)
            notify("READY=1")
            await stop.asked.wait()
            notify("STOPPING=1")
