"""`kgpud demo`: a first rental from menu to release, each command shown, each outcome checked."""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from kgpud import signals
from kgpud.cli import tour

_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
_NEEDED = ("ssh", "ssh-keygen", "scp", "rsync", "curl", "jq", "bash")


@click.command()
def demo() -> None:
    """Walk through a first rental, for real, and check each step."""
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        raise click.ClickException(
            f"{', '.join(missing)} not found. Install: apt-get install openssh-client rsync curl jq"
        )
    for number in signals.stopping():
        signal.signal(number, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="kgpud-demo-"))
    began = time.monotonic()
    try:
        with _daemon(folder) as env:
            tour.walk(folder, env)
    except tour.StepFailed as error:
        click.echo(click.style(f"FAILED: {error}", fg="red"))
        raise click.ClickException(f"the daemon's log is in {folder}/state") from None
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder)
    seconds = time.monotonic() - began
    click.echo(click.style(f"\nEvery step did what it should, in {seconds:.1f} s.", fg="green"))


@contextmanager
def _daemon(folder: Path) -> Iterator[dict[str, str]]:
    """Run `kgpud dev` with a state of its own; yield dev.env's variables. Raises StepFailed."""
    state = folder / "state"
    tour.say("kgpud dev --state STATE   # in the background")
    began = time.monotonic()
    with (folder / "dev.out").open("wb") as out:
        command = [sys.executable, "-m", "kgpud", "dev", "--state", str(state)]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        with tour.progress("starting"):
            _await_ready(process, state / "dev.env")
        tour.tell(f"ready in {time.monotonic() - began:.1f} s")
        yield _variables(state / "dev.env")
    except BaseException:
        _stop(process)
        raise
    code = _stop(process)
    if code != 0:
        raise tour.StepFailed(f"the daemon ended with code {code}")


def _await_ready(process: subprocess.Popen[bytes], env: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not env.exists():
        if process.poll() is not None:
            words = (env.parent.parent / "dev.out").read_text(errors="replace").strip()
            raise tour.StepFailed(f"the daemon did not start: {words}")
        if time.monotonic() > deadline:
            raise tour.StepFailed(f"the daemon was not ready in {_START_SECONDS:.0f} s")
        time.sleep(0.05)


def _variables(env: Path) -> dict[str, str]:
    shown = subprocess.run(
        ["bash", "-c", f'. "{env}" && env -0'], capture_output=True, check=True, text=True
    ).stdout
    pairs = (line.partition("=") for line in shown.split("\0") if line)
    return {name: value for name, _, value in pairs}


def _stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
