"""`kgpud serve` as a child process, on a local cluster of its own."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.platform import child

from .dev import Dev, eventually, output

CONFIG = """\
state = "{state}"
[http]
listen = "127.0.0.1:{http}"
[cluster]
kubeconfig = "{kubeconfig}"
[drain]
seconds = {drain}
[ssh]
listen = "127.0.0.1:{ssh}"
"""


def kgpud(*words: str) -> str:
    return output([sys.executable, "-m", "kgpud", *words]).decode()


def write_config(folder: Path, kubeconfig: Path, more: str = "", *, drain: int = 1) -> Path:
    """Write a configuration with ports of its own; `more` follows in its last table, [ssh]."""
    path = folder / "kgpud.toml"
    path.write_text(
        CONFIG.format(
            state=folder / "state",
            http=free_port(),
            ssh=free_port(),
            kubeconfig=kubeconfig,
            drain=drain,
        )
        + more
    )
    return path


@contextmanager
def serving(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "kgpud", "serve", "--config", str(config)]
    log = config.with_suffix(".log")
    with log.open("wb") as said:
        process = subprocess.Popen(argv, stderr=said)
    try:
        eventually(lambda: b"kgpud serves" in log.read_bytes() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def front(config: Path, process: subprocess.Popen[bytes], token: str) -> Dev:
    """Describe a serving daemon as `kgpud dev` would."""
    lines = config.read_text().splitlines()
    http, ssh = (line.split('"')[1] for line in lines if line.startswith("listen"))
    state = config.parent / "state"
    public = output(["ssh-keygen", "-y", "-f", str(state / "ssh_host_ed25519_key")]).decode()
    known_hosts = config.parent / "known_hosts"
    host, _, port = ssh.partition(":")
    known_hosts.write_text(f"[{host}]:{port} {public}")
    env = {
        "KGPU_API_BASE": f"http://{http}/v1",
        "KGPU_API_TOKEN": token,
        "KGPU_SSH_HOST": host,
        "KGPU_SSH_PORT": port,
        "KGPU_KNOWN_HOSTS": str(known_hosts),
    }
    return Dev(process, state, {**os.environ, **env})


def sign_up(config: Path, email: str = "a@example.org") -> str:
    """Make an approved account, whether the daemon runs or not; return its token."""
    return asyncio.run(child.sign_up(config.parent / "state", email))
