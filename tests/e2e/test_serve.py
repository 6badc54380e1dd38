"""`kgpud serve` on a cluster of its own: what survives a daemon that is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .dev import Dev, Pod, eventually, make_key, output, rent

CONFIG = """\
state = "{state}"
[http]
listen = "127.0.0.1:{http}"
[ssh]
listen = "127.0.0.1:{ssh}"
[cluster]
kubeconfig = "{kubeconfig}"
[drain]
seconds = {drain}
"""


def kgpud(*words: str) -> str:
    return output([sys.executable, "-m", "kgpud", *words]).decode()


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    argv = [sys.executable, "-m", "kgpud", "local-cluster", "--state", str(tmp_path / "cluster")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        yield Path(json.loads(process.stdout.readline())["kubeconfig"])
        process.terminate()
        assert process.wait(20) == 0


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


@pytest.fixture
def config(tmp_path: Path, kubeconfig: Path) -> Path:
    path = tmp_path / "kgpud.toml"
    path.write_text(
        CONFIG.format(
            state=tmp_path / "state",
            http=free_port(),
            ssh=free_port(),
            kubeconfig=kubeconfig,
            drain=1,
        )
    )
    assert "ok" in kgpud("config", "check", "--config", str(path))
    return path


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


def test_a_killed_daemon_comes_back_to_its_rentals(config: Path, tmp_path: Path) -> None:
    store = ("--config", str(config))
    key = make_key(tmp_path / "key")
    with serving(config) as first:
        kgpud("user", "add", "a@example.org", *store)
        kgpud("user", "approve", "a@example.org", *store)
        token = kgpud("user", "token", "a@example.org", *store).split()[-1]
        pod = rent(front(config, first, token), key)
        assert pod.ssh("echo kept >/workspace/file").returncode == 0
        client = pod.start("echo in; sleep 100")
        assert client.stdout
        assert client.stdout.readline() == b"in\n"
        first.kill()
        client.communicate(timeout=20)
        assert client.returncode == 255
    with serving(config) as second:
        dev = front(config, second, token)
        again = Pod(dev, pod.pod_id, key)
        eventually(lambda: again.view()["ready"])
        assert again.ssh("cat /workspace/file").stdout == b"kept\n"
        client = again.start("echo in; sleep 100")
        assert client.stdout
        assert client.stdout.readline() == b"in\n"
        kgpud("pod", "release", pod.pod_id, *store)
        _, said = client.communicate(timeout=20)
        assert client.returncode == 255
        assert b"the operator released the rental" in said
        ended = eventually(lambda: (view := again.view())["phase"] == "Ended" and view)
        assert ended["end_reason"] == "admin_released"
        assert dev.api("GET", "/balance")["credits"] == 100_000 - ended["cost_credits"]
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0


def test_a_stop_tells_sessions_and_spares_the_pod(config: Path, tmp_path: Path) -> None:
    store = ("--config", str(config))
    with serving(config) as daemon:
        kgpud("user", "add", "a@example.org", *store)
        kgpud("user", "approve", "a@example.org", *store)
        token = kgpud("user", "token", "a@example.org", *store).split()[-1]
        pod = rent(front(config, daemon, token), make_key(tmp_path / "key"))
        short, long = pod.start("echo in; sleep 0.7; exit 3"), pod.start("echo in; sleep 100")
        for client in (short, long):
            assert client.stdout
            assert client.stdout.readline() == b"in\n"
        daemon.terminate()
        _, said = long.communicate(timeout=20)
        assert (long.returncode, b"is restarting" in said) == (255, True)
        short.communicate(timeout=20)
        assert short.returncode == 3
        assert daemon.wait(20) == 0
    with serving(config) as daemon:
        again = Pod(front(config, daemon, token), pod.pod_id, pod.key)
        eventually(lambda: again.view()["ready"])
        assert again.ssh("hostname").returncode == 0


def test_a_bad_configuration_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "kgpud.toml"
    path.write_text("colour = 'red'\n")
    argv = [sys.executable, "-m", "kgpud", "serve", "--config", str(path)]
    done = subprocess.run(argv, capture_output=True, timeout=30)
    assert done.returncode == 1
    assert b"colour" in done.stderr
    assert done.stderr.count(b"\n") == 1
