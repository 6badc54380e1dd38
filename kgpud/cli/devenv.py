"""What `kgpud dev` leaves for a shell: dev.env, known_hosts and a few words."""

import contextlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kgpud.config import Config
from store.records import Account

if TYPE_CHECKING:
    # Commands that only look for a daemon need not load one: that is a second's work.
    from kgpud.daemon import Running

NAME = "dev.env"
_KNOWN_HOSTS = "known_hosts"
LOG = "kgpud.log"
_TOKEN_FILE = "dev.token"  # noqa: S105 - a file's name


def last_token(state: Path) -> str | None:
    """Return the token that the last run handed out, if there was one."""
    try:
        return (state / _TOKEN_FILE).read_text().strip()
    except FileNotFoundError:
        return None


def origin(config: Config) -> str:
    """Return where the dashboard is: a running `kgpud dev` says so, else the configuration."""
    with contextlib.suppress(FileNotFoundError):
        for line in (config.state / NAME).read_text().splitlines():
            name, _equals, value = line.removeprefix("export ").partition("=")
            if name == "KGPU_API_BASE":
                return shlex.split(value)[0].removesuffix("/v1")
    return config.api_base(config.http.listen).removesuffix("/v1")


def remove(state: Path) -> None:
    """Remove dev.env, which says that a daemon is ready."""
    (state / NAME).unlink(missing_ok=True)


def write(state: Path, running: "Running", token: str) -> None:
    """Write known_hosts, the token and then dev.env, each whole and for its owner alone."""
    known_hosts, keys = state / _KNOWN_HOSTS, running.host_keys.current()
    trusted = [key.known_hosts(running.ssh.host, running.ssh.port) + "\n" for key in keys]
    _replace(known_hosts, "".join(trusted))
    _replace(state / _TOKEN_FILE, f"{token}\n")
    variables = {
        "KGPU_API_BASE": running.api_base,
        "KGPU_API_TOKEN": token,
        "KGPU_SSH_HOST": running.ssh.host,
        "KGPU_SSH_PORT": str(running.ssh.port),
        "KGPU_DASHBOARD": _root(running.api_base),
        "KGPU_KNOWN_HOSTS": str(known_hosts),
        "KGPU_SSH_HOST_KEY": keys[0].line,
        "KGPU_SSH_HOST_KEY_FINGERPRINT": keys[0].fingerprint,
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    _replace(state / NAME, "".join(lines))


def welcome(state: Path, running: "Running", account: Account, secret: str) -> str:
    """Return what a newcomer needs: where it is, and three commands to try."""
    env = shlex.quote(_short(state / NAME))
    log = _short(state / LOG)
    return f"""\
kgpud is ready: REST on {running.api_base}, ssh on {running.ssh}.
{account.email} has {account.balance} credits. What goes on inside: {log}
The dashboard, signed in by a link that works once, for 15 minutes:
    {_root(running.api_base)}sign-in/link/{secret}

Try, in another shell:
    . {env}
    curl -sS $KGPU_API_BASE/gpu-models | jq
    curl -sS -X POST $KGPU_API_BASE/pods -H "Authorization: Bearer $KGPU_API_TOKEN" \\
        -H 'Content-Type: application/json' \\
        -d "$(jq -n --arg p "$(cat ~/.ssh/id_ed25519.pub)" '{{ssh_pubkey: $p}}')" | jq
    ssh -p $KGPU_SSH_PORT -o UserKnownHostsFile=$KGPU_KNOWN_HOSTS kgpu@$KGPU_SSH_HOST nvidia-smi

Ctrl-C stops it; the account, its balance and history stay in {_short(state)}."""


def _short(path: Path) -> str:
    """Return the path as seen from here, if it lies below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _root(api_base: str) -> str:
    parts = urlsplit(api_base)
    return f"{parts.scheme}://{parts.netloc}/"


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.rename(path)
