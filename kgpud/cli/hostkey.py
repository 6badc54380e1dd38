"""`kgpud host-key`: what users' known_hosts trust, and changing it without a scare."""

from pathlib import Path
from typing import Any

import click

from gateway import hostkeys
from kgpud import statefolder
from kgpud.cli.state import Opened, json_option, run, show_json, show_table, state_options
from kgpud.clock import rfc3339


@click.group("host-key")
def host_key() -> None:
    """Show the bastion's SSH host key, or change it in two steps: announce, switch."""


@host_key.command()
@json_option
@state_options
def show(*, as_json: bool, state: Path | None, config: Path | None) -> None:
    """Show the key that serves, and its successor if one is announced."""
    keys = run(state, config, _keys)
    if as_json:
        show_json(keys)
    else:
        show_table(("FINGERPRINT", "SERVES", "SINCE", "PUBLIC KEY"), [[*k.values()] for k in keys])


@host_key.command()
@state_options
def announce(state: Path | None, config: Path | None) -> None:
    """Make a successor for clients to learn. The old key goes on serving.

    OpenSSH's clients learn it when they connect (UpdateHostKeys); those that did notice nothing of
    the switch: give them a week or two.
    """
    made = run(state, config, lambda opened: _step(hostkeys.announce, opened))
    click.echo(f"{made.fingerprint} is announced from the next connection on")


@host_key.command()
@state_options
def switch(state: Path | None, config: Path | None) -> None:
    """Let the announced successor serve. The old key is gone for good."""
    serving = run(state, config, lambda opened: _step(hostkeys.switch, opened))
    click.echo(f"{serving.fingerprint} serves from the next connection on")


async def _step(step: Any, opened: Opened) -> hostkeys.HostKey:  # noqa: ANN401
    try:
        made = step(opened.config.state / statefolder.HOST_KEY)
    except hostkeys.HostKeyRefused as error:
        raise click.ClickException(str(error)) from None
    assert isinstance(made, hostkeys.HostKey)
    return made


async def _keys(opened: Opened) -> list[dict[str, Any]]:
    path = opened.config.state / statefolder.HOST_KEY
    files = (path, hostkeys.successor(path))
    return [
        {
            "fingerprint": key.fingerprint,
            "serves": file == path,
            "since": rfc3339(file.stat().st_mtime_ns // 1_000_000),
            "public_key": key.line,
        }
        for key, file in zip(hostkeys.read(path), files, strict=False)
    ]
