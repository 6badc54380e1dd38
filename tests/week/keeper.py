"""Keeps a daemon serving as systemd would, and disturbs it in every way that must cost no work."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.e2e.dev import eventually
from tests.reload.house import Cluster, of_config

_CALM_SECONDS = (2.0, 9.0)
_SILENCE_SECONDS = 4.0
_START_SECONDS = 60.0


class Keeper:
    """A daemon of `config`. `disturbed` counts what was done to it."""

    def __init__(self, config: Path, cluster: Cluster, seed: int) -> None:
        self._config = config
        self._cluster = cluster
        self._chance = random.Random(seed)
        self._log = config.with_suffix(".log")
        self._children: list[subprocess.Popen[bytes]] = []
        self.disturbed: Counter[str] = Counter()
        self.failed: Exception | None = None

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Serve while the block runs; nothing of it is left afterwards, and the end is orderly."""
        self._start()
        try:
            yield
            eventually(lambda: of_config(self._config) == [self.owner()])
        finally:
            self._end()

    @property
    def started(self) -> subprocess.Popen[bytes]:
        """Return the daemon that was started last."""
        return self._children[-1]

    def owner(self) -> psutil.Process:
        """Return the daemon that has the store."""
        lock = self._config.parent / "state" / "kgpud.lock"
        return psutil.Process(int(lock.read_text().split()[0]))

    def disturb(self, over: threading.Event) -> None:
        """Do something to it every few seconds until `over`. What goes wrong is in `failed`."""
        try:
            self._disturb(over)
        except Exception as error:  # noqa: BLE001 - a thread's end is nobody's to hear of
            self.failed = error

    def _disturb(self, over: threading.Event) -> None:
        kinds: dict[str, Callable[[], None]] = {
            "killed": self._kill,
            "restarted": self._restart,
            "reloaded": self._reload,
            "reloaded and killed": self._reload_and_kill,
            "cluster silent": self._silence,
        }
        while not over.wait(self._chance.uniform(*_CALM_SECONDS)):
            kind = self._chance.choice(sorted(kinds))
            kinds[kind]()
            self.disturbed[kind] += 1

    def _start(self) -> None:
        argv = [sys.executable, "-m", "kgpud", "serve", "--config", str(self._config)]
        before = self._said()
        with self._log.open("ab") as said:
            process = subprocess.Popen(argv, stderr=said)
        self._children.append(process)
        eventually(lambda: self._said() > before or process.poll() is not None, _START_SECONDS)
        assert process.poll() is None, self._log.read_text()[-3000:]

    def _said(self) -> int:
        return self._log.read_bytes().count(b"kgpud serves") if self._log.exists() else 0

    def _kill(self) -> None:
        self._stop(signal.SIGKILL)
        self._start()

    def _restart(self) -> None:
        self._stop(signal.SIGTERM)
        self._start()

    def _stop(self, number: signal.Signals) -> None:
        daemon = self.owner()
        daemon.send_signal(number)
        with suppress(psutil.NoSuchProcess):
            daemon.wait(60)
        self._reap()

    def _reload(self) -> None:
        argv = [sys.executable, "-m", "kgpud", "reload", "--config", str(self._config)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    def _reload_and_kill(self) -> None:
        """Kill the successor; what the elder still has must end by itself."""
        self._reload()
        self._kill()

    def _silence(self) -> None:
        with self._cluster.silent():
            threading.Event().wait(_SILENCE_SECONDS)

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]

    def _end(self) -> None:
        for daemon in of_config(self._config):
            daemon.terminate()
        _, left = psutil.wait_procs(of_config(self._config), 60)
        for daemon in left:
            daemon.kill()
        for child in self._children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(20)
        assert not left, "a daemon did not end"


def memory_mib(process: psutil.Process) -> float:
    """Return what a process holds for itself."""
    return float(process.memory_info().rss - process.memory_info().shared) / 2**20


def descriptors(process: psutil.Process) -> int:
    """Return how many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{process.pid}/fd"))
