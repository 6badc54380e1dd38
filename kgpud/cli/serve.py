"""`kgpud serve`: the daemon on a configured cluster."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from kgpud import daemon, logs, statefolder
from kgpud.cli.failing import one_line
from kgpud.clock import SystemClock
from kgpud.config import DEFAULT_FILE, Address, Config, ConfigError, load
from kgpud.daemon import Running
from kgpud.handover.inherited import Inherited, Listening
from kgpud.serving import Daemon, Holdings
from kgpud.signals import reload_signal, stop_signals


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
    inherited = Inherited.take()
    try:
        with one_line():
            config = load(path)
            logs.configure(config.log.level, sys.stderr)
            asyncio.run(_serve(config, inherited))
    except click.ClickException as error:
        if inherited:
            inherited.failed(error.message)
        raise


async def _serve(config: Config, inherited: Inherited | None) -> None:
    # The signals first: whoever reads the lock may send one.
    with stop_signals() as stop, contextlib.ExitStack() as stack:
        asked = asyncio.Event()
        stack.enter_context(reload_signal(asked.set))
        held = stack.enter_context(_held(config, inherited))
        await Daemon(config, SystemClock(), held, inherited, stop, asked, _say_so).run()


def _say_so(running: Running) -> None:
    # Nobody need be able to read it.
    with contextlib.suppress(OSError):
        click.echo(f"kgpud serves {running.api_base} and ssh on {running.ssh}", err=True)


@contextmanager
def _held(config: Config, inherited: Inherited | None) -> Iterator[Holdings]:
    """Bind and lock, or take what was inherited. Raises OSError, StateLocked, ConfigError."""
    if inherited is None:
        http, ssh = config.http.listen, config.ssh.listen
        with (
            statefolder.locked(config.state) as lock,
            contextlib.closing(daemon.bind(http)) as for_http,
            contextlib.closing(daemon.bind(ssh)) as for_ssh,
        ):
            yield Holdings(Listening(for_http, http), Listening(for_ssh, ssh), lock)
        return
    if config.state != inherited.state:
        why = f"is {config.state} now, and was {inherited.state}: that takes a restart"
        raise ConfigError([f"state: {why}"])
    with contextlib.closing(statefolder.Lock(inherited.lock)) as lock:
        kept = _kept(inherited.http, config.http.listen)
        yield Holdings(kept, _kept(inherited.ssh, config.ssh.listen), lock)


def _kept(listening: Listening, address: Address) -> Listening:
    """Return the listener that was inherited, or one that is bound to a new address."""
    if listening.configured == address:
        return listening
    listening.sock.close()
    return Listening(daemon.bind(address), address)
