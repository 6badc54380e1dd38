"""A daemon with a rented pod, whoever is the daemon just now."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.dev import Dev, Pod, eventually, make_key, rent
from tests.e2e.serve import front, kgpud, sign_up

EMAIL = "a@example.org"

Client = subprocess.Popen[bytes]


@dataclass
class Cluster:
    process: subprocess.Popen[bytes]
    kubeconfig: Path

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Have it answer nothing while the block runs."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@dataclass
class House:
    config: Path
    first: subprocess.Popen[bytes]
    dev: Dev
    pod: Pod
    clients: list[Client] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.config.parent / "state"

    def owner(self) -> psutil.Process:
        """Return the daemon that has the store, as the lock says."""
        return psutil.Process(int((self.state / "kgpud.lock").read_text().split()[0]))

    def reload(self) -> psutil.Process:
        """Reload; return the daemon that serves then."""
        before = self.owner()
        said = kgpud("reload", "--config", str(self.config))
        after = self.owner()
        assert f"pid {after.pid}" in said
        assert after != before
        return after

    def refused_reload(self) -> str:
        """Try to reload, which must fail; return why."""
        before = self.owner()
        argv = [sys.executable, "-m", "kgpud", "reload", "--state", str(self.state)]
        done = subprocess.run(argv, capture_output=True, timeout=60)
        assert done.returncode == 1, done
        assert self.owner() == before
        return done.stderr.decode()

    def enter(self, command: str, *options: str) -> Client:
        """Start a command that says when it is in."""
        client = self.pod.start(*options, f"echo in; {command}")
        self.clients.append(client)
        assert client.stdout
        assert client.stdout.readline() == b"in\n"
        return client

    def kgpud(self, *words: str) -> str:
        """Run a command on the daemon's store."""
        place = words.index("--") if "--" in words else len(words)
        store = ("--config", str(self.config))
        return kgpud(*words[:place], *store, *words[place:])

    def sessions(self, *options: str) -> list[dict[str, Any]]:
        store = ("--config", str(self.config))
        rows: list[dict[str, Any]] = json.loads(
            kgpud("session", "list", "--json", *store, *options)
        )
        return rows

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what the daemons have logged of one kind."""
        lines = self.config.with_suffix(".log").read_text().splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in said if event["event"] == name]


@contextmanager
def standing(
    config: Path, env: Mapping[str, str] | None = None, *, gpus: int = 0
) -> Iterator[House]:
    """Run a daemon and rent a pod; whatever became of it, no daemon is left afterwards."""
    token = sign_up(config, EMAIL)
    argv = [sys.executable, "-m", "kgpud", "serve", "--config", str(config)]
    log = config.with_suffix(".log")
    with log.open("wb") as said:
        first = subprocess.Popen(argv, stderr=said, env={**os.environ, **(env or {})})
    try:
        eventually(lambda: b"kgpud serves" in log.read_bytes() or first.poll() is not None)
        assert first.poll() is None, log.read_text()
        dev = front(config, first, token)
        key = config.parent / "key"
        pod = rent(dev, key if key.exists() else make_key(key), gpu_count=gpus)
        house = House(config, first, dev, pod)
        try:
            yield house
        finally:
            for client in house.clients:
                client.kill()
                client.wait(20)
                for pipe in (client.stdin, client.stdout, client.stderr):
                    assert pipe
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
    finally:
        daemons = of_config(config)
        for daemon in daemons * 2:  # the second time to hurry
            with contextlib.suppress(psutil.NoSuchProcess):
                daemon.terminate()
        _, left = psutil.wait_procs(daemons, 20)
        for daemon in left:
            daemon.kill()
        first.wait(20)
        assert not left, log.read_text()


def of_config(config: Path) -> list[psutil.Process]:
    """Return the daemons of a configuration that are there now."""
    found = []
    # psutil would take thrice as long, and this is asked again and again.
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            words = path.read_bytes().split(b"\0")  # none where it has ended
            if b"serve" in words and os.fsencode(config) in words:
                found.append(psutil.Process(int(path.parent.name)))
    return found


def heir_of(house: House, elder: int) -> psutil.Process:
    """Return the successor as soon as there is one."""
    return eventually(
        lambda: next((p for p in of_config(house.config) if p.pid != elder), None), seconds=20
    )


def finished(
    client: Client, seconds: float = 20, *, said: bytes | None = None
) -> tuple[int, bytes, bytes]:
    out, err = client.communicate(said, timeout=seconds)
    return client.returncode, out, err
