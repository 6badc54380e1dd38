"""The wrapper and the hang-up run by the real shells of this machine, each in its own session."""

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from gateway import wrapper
from gateway.wrapper import Command

SHELLS = ("dash", "bash", "busybox")

# Our side of `sh ... /dev/pts/N COMMAND`: a session's leader gets the first terminal it opens.
_ON_TTY = 'exec "$@" <"$0" >"$0" 2>&1'


@dataclass(frozen=True)
class Shell:
    """One machine's worth of shell: its `sh` is `path`, wherever it is called by name."""

    path: str
    environment: Mapping[str, str]
    folder: Path

    def start(
        self, argv: list[str], environment: Mapping[str, str] | None = None, **pipes: Any
    ) -> subprocess.Popen[bytes]:
        """Start an argv whose first word is sh, as the leader of a session of its own."""
        assert argv[0] == "sh"
        return subprocess.Popen(
            argv,
            executable=self.path,
            env={**self.environment, **(environment or {})},
            cwd=self.folder,
            start_new_session=True,
            **pipes,
        )


def found(name: str, folder: Path) -> Shell:
    """Find a shell; skip where there is none. Its SHELL and the `sh` in its PATH are the same."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} on this machine")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "sh").symlink_to(path)
    environment = {
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "SHELL": str(programs / "sh"),
        "KGPU_API_TOKEN": "kgpu_secret",
    }
    return Shell(path, environment, folder)


@contextmanager
def swept(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End the process and its group, whatever the test did, and close its pipes."""
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe and not pipe.closed:
                pipe.close()


@dataclass(frozen=True)
class Ran:
    """What a wrapped command left: outputs without the trailers, and the trailers' codes."""

    exit_code: int
    out: bytes
    err: bytes
    out_trailer: int | None
    err_trailer: int | None

    @property
    def codes(self) -> set[int | None]:
        return {self.exit_code, self.out_trailer, self.err_trailer}


def without_trailer(output: bytes, nonce: str) -> tuple[bytes, int | None]:
    match = re.search(b"\x1e" + nonce.encode() + rb" (\d{3})", output)
    if match is None:
        return output, None
    return output[: match.start()] + output[match.end() :], int(match[1])


def run(
    shell: Shell,
    command: Command,
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """Run a command without a tty under the wrapper, to the end of its outputs."""
    nonce = wrapper.new_nonce()
    pipe = subprocess.PIPE
    process = shell.start(
        wrapper.wrapped(command, nonce), environment, stdin=pipe, stdout=pipe, stderr=pipe
    )
    with swept(process):
        out, err = process.communicate(stdin, timeout=20)
    code = process.returncode
    plain_out, out_code = without_trailer(out, nonce)
    plain_err, err_code = without_trailer(err, nonce)
    # A runtime says 128+n where Python says -n.
    return Ran(128 - code if code < 0 else code, plain_out, plain_err, out_code, err_code)


class Terminal:
    """A wrapped command with a pseudo terminal. `with` ends its whole session's group."""

    def __init__(self, shell: Shell, command: Command) -> None:
        self.nonce = wrapper.new_nonce()
        self.seen = b""
        # Both sides stay open here: the master reads EIO while nobody has the other one.
        self._master, self._slave = os.openpty()
        argv = wrapper.wrapped(command, self.nonce)
        argv = ["sh", "-c", _ON_TTY, os.ttyname(self._slave), shell.path, *argv[1:]]
        if shell.path.endswith("busybox"):
            argv.insert(5, "sh")
        self._sweep = swept(shell.start(argv))
        self.process = self._sweep.__enter__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._sweep.__exit__(None, None, None)
        os.close(self._slave)
        os.close(self._master)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read_until(self, mark: bytes, seconds: float = 10) -> bytes:
        """Read until the output holds `mark`; return all output seen so far."""
        deadline = time.monotonic() + seconds
        while mark not in self.seen:
            left = deadline - time.monotonic()
            if not select.select([self._master], [], [], max(0, left))[0]:
                raise AssertionError(f"no {mark!r} in {self.seen!r}")
            self.seen += os.read(self._master, 65536)
        return self.seen


class Watched:
    """Processes by the pid files they wrote, held by pidfd, so that no pid is ever reused on us."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, int] = {}

    def expect(self, *names: str) -> None:
        """Wait until each of these has written its pid into a file of its name."""
        for name in names:
            path = self._folder / name
            wait_for(lambda path=path: path.exists() and path.read_text().endswith("\n"))  # type: ignore[misc]
            self._open[name] = os.pidfd_open(int(path.read_text()))

    def left(self, *expected: str) -> bool:
        """Whether just these are left, once the dying are dead."""
        deadline = time.monotonic() + 5
        while self._alive() != set(expected) and time.monotonic() < deadline:
            time.sleep(0.01)
        return self._alive() == set(expected)

    def _alive(self) -> set[str]:
        return {
            name for name, held in self._open.items() if not select.select([held], [], [], 0)[0]
        }

    def end(self) -> None:
        for held in self._open.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(held, signal.SIGKILL)
            os.close(held)


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
