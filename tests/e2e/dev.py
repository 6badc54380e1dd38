"""The real daemon as a child process, and the real clients against it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

START_SECONDS = 30.0
STEP_SECONDS = 60.0

T = TypeVar("T")
Answer = dict[str, Any]


def eventually(look: Callable[[], T | None], seconds: float = 20.0) -> T:
    """Return what `look` finds as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def output(command: list[str], *, stdin: bytes = b"", code: int | None = 0) -> bytes:
    """Run a command, check its exit code, return its stdout."""
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=STEP_SECONDS)
    assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout


@dataclass
class Dev:
    """A running `kgpud dev` and its account."""

    process: subprocess.Popen[bytes]
    state: Path
    env: Mapping[str, str]

    def api(self, method: str, path: str, body: object = None, *, token: str = "") -> Any:
        """Call the API with curl; return the decoded answer with its status under "_status"."""
        argv = ["curl", "-sS", "-X", method, self.env["KGPU_API_BASE"] + path]
        argv += ["-H", f"Authorization: Bearer {token or self.env['KGPU_API_TOKEN']}"]
        argv += ["-w", "\n%{http_code}"]
        if body is not None:
            argv += ["-H", "Content-Type: application/json", "-d", "@-"]
        text, _, status = output(argv, stdin=json.dumps(body).encode()).decode().rpartition("\n")
        answer = json.loads(text)
        if isinstance(answer, dict):
            answer["_status"] = int(status)
        return answer

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(START_SECONDS)


@dataclass
class Pod:
    """A rented pod and the key that opens it."""

    dev: Dev
    pod_id: str
    key: Path
    options: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.options = [
            *("-F", "none", "-i", str(self.key)),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={self.dev.env['KGPU_KNOWN_HOSTS']}"),
            *("-o", "StrictHostKeyChecking=yes"),
        ]

    @property
    def where(self) -> str:
        return f"kgpu@{self.dev.env['KGPU_SSH_HOST']}"

    @property
    def port(self) -> str:
        return self.dev.env["KGPU_SSH_PORT"]

    def argv(self, *command: str) -> list[str]:
        """Return the ssh command line; leading options may stand in `command`."""
        options = [word for word in command if word.startswith("-")]
        rest = [word for word in command if not word.startswith("-")]
        return ["ssh", *self.options, "-p", self.port, *options, self.where, *rest]

    def ssh(
        self, *command: str, stdin: bytes = b"", seconds: float = STEP_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        argv = self.argv(*command)
        return subprocess.run(argv, input=stdin, capture_output=True, timeout=seconds)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(self.argv(*command), stdin=pipe, stdout=pipe, stderr=pipe)

    def scp(self, *words: str, code: int | None = 0) -> None:
        places = [word.replace("POD:", f"{self.where}:") for word in words]
        output(["scp", *self.options, "-P", self.port, *places], code=code)

    def rsync(self, *words: str) -> None:
        shell = shlex.join(["ssh", *self.options, "-p", self.port])
        places = [word.replace("POD:", f"{self.where}:") for word in words]
        output(["rsync", "-e", shell, *places])

    def view(self) -> Answer:
        return dict(self.dev.api("GET", f"/pods/{self.pod_id}"))

    def release(self) -> Answer:
        return dict(self.dev.api("DELETE", f"/pods/{self.pod_id}"))


def make_key(path: Path) -> Path:
    output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)])
    return path


def rent(dev: Dev, key: Path, **fields: object) -> Pod:
    """Rent a pod and wait until it is ready."""
    public = key.with_suffix(".pub").read_text()
    answer = dev.api("POST", "/pods", {"ssh_pubkey": public, "gpu_model": "v100", **fields})
    assert answer["_status"] == 200, answer
    pod = Pod(dev, answer["pod_id"], key)
    eventually(lambda: pod.view()["ready"])
    return pod


def read_env(path: Path) -> dict[str, str]:
    shown = output(["env", "-i", "bash", "-c", f'. "{path}" && env -0']).decode()
    return dict(line.partition("=")[::2] for line in shown.split("\0") if line)


@contextmanager
def running(state: Path, *options: str) -> Iterator[Dev]:
    """Run `kgpud dev` while the block runs."""
    argv = [sys.executable, "-m", "kgpud", "dev", "--state", str(state), *options]
    log = state.with_suffix(".out")
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out)
    env = state / "dev.env"
    try:
        # One that a killed daemon left is gone by the time the log has its first line.
        eventually(
            lambda: (env.exists() and log.stat().st_size) or process.poll() is not None,
            START_SECONDS,
        )
        assert process.poll() is None, log.read_text()
        yield Dev(process, state, {**os.environ, **read_env(env)})
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(START_SECONDS)
