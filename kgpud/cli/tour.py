"""The steps of the demo: product's quick start, as a shell would run it."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

_READY_SECONDS = 60.0
_STEP_SECONDS = 60.0
_AT_ONCE_SECONDS = 5.0

_AUTH = '-H "Authorization: Bearer $KGPU_API_TOKEN"'
_JSON = "-H 'Content-Type: application/json'"
# One name for the options that only a demo needs: its own key, its own known_hosts.
_SSH_CONFIG = """\
Host *
    IdentityFile {folder}/key
    IdentitiesOnly yes
    UserKnownHostsFile {known_hosts}
    StrictHostKeyChecking yes
    BatchMode yes
"""


class StepFailed(Exception):
    """A step did not do what it should; the text says how."""


def say(command: str) -> None:
    """Show a command as one would type it."""
    click.echo(click.style(f"\n$ {command}", bold=True))


def tell(outcome: str) -> None:
    """Show an outcome."""
    for line in outcome.rstrip("\n").splitlines():
        click.echo(f"  {line}")


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show that something is going on while the block runs, on a terminal only."""
    if not sys.stdout.isatty():
        yield
        return
    over = threading.Event()
    began = time.monotonic()

    def show() -> None:
        while not over.wait(0.2):
            click.echo(f"\r  … {what}, {time.monotonic() - began:.1f} s ", nl=False)
        click.echo("\r" + " " * 40 + "\r", nl=False)

    thread = threading.Thread(target=show)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Shell:
    """Runs commands with bash, in the demo's folder, with dev.env's variables."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = dict(env)

    def run(self, command: str, *, code: int = 0, quiet: bool = False) -> tuple[str, float]:
        """Show and run a command; return its output and seconds. Raises StepFailed."""
        say(command)
        began = time.monotonic()
        try:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_STEP_SECONDS,
                text=True,
                errors="replace",
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StepFailed(f"no end within {_STEP_SECONDS:.0f} s") from None
        seconds = time.monotonic() - began
        if not quiet or done.returncode != code:
            tell(done.stdout)
        tell(f"[exit {done.returncode}, {seconds:.2f} s]")
        if done.returncode != code:
            raise StepFailed(f"exit {done.returncode} instead of {code}")
        return done.stdout, seconds


def walk(folder: Path, env: Mapping[str, str]) -> None:
    """Rent, use and release a pod. Raises StepFailed at the first surprise."""
    # The options for our own key go into a file that ssh, scp and rsync share.
    config = folder / "ssh_config"
    config.write_text(_SSH_CONFIG.format(folder=folder, known_hosts=env["KGPU_KNOWN_HOSTS"]))
    shell = _Shell(folder, {**env, "HOST": f"kgpu@{env['KGPU_SSH_HOST']}"})
    shell.run("curl -sSf $KGPU_API_BASE/gpu-models | jq -c '.[]'")
    shell.run("ssh-keygen -q -t ed25519 -N '' -C demo -f key")
    shell.env["RENT"] = _rent(shell)
    _wait_until_ready(shell)
    shell.run("ssh -F ssh_config -p $KGPU_SSH_PORT $HOST nvidia-smi")
    _copy(shell)
    _exec(shell)
    _detach(shell)
    _release(shell)


def _rent(shell: _Shell) -> str:
    shell.run(
        f"curl -sSf -X POST $KGPU_API_BASE/pods {_AUTH} {_JSON} \\\n"
        """    -d "$(jq -n --arg p "$(cat key.pub)" '{gpu_model:"rtx4090", ssh_pubkey:$p}')" """
        "| tee rent.json | jq"
    )
    return str(json.loads((shell.folder / "rent.json").read_text())["pod_id"])


def _wait_until_ready(shell: _Shell) -> None:
    say(f"until [ $(curl -sSf $KGPU_API_BASE/pods/$RENT {_AUTH} | jq .ready) = true ]; do …")
    began = time.monotonic()
    with progress("waiting for the pod"):
        while not _pod(shell)["ready"]:
            if time.monotonic() - began > _READY_SECONDS:
                raise StepFailed(f"not ready in {_READY_SECONDS:.0f} s: {_pod(shell)}")
            time.sleep(0.1)
    tell(f"[ready after {time.monotonic() - began:.2f} s]")


def _pod(shell: _Shell) -> dict[str, object]:
    url = f"{shell.env['KGPU_API_BASE']}/pods/{shell.env['RENT']}"
    auth = f"Authorization: Bearer {shell.env['KGPU_API_TOKEN']}"
    # By a configuration on stdin: a process's arguments are for everybody to see.
    done = subprocess.run(
        ["curl", "-sSf", "-K", "-", url],
        input=f'header = "{auth}"\n',
        capture_output=True,
        text=True,
        timeout=_STEP_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise StepFailed(done.stderr.strip())
    pod: dict[str, object] = json.loads(done.stdout)
    return pod


def _copy(shell: _Shell) -> None:
    shell.run("head -c 20000000 /dev/urandom > data.bin")
    scp = "scp -O -F ssh_config -P $KGPU_SSH_PORT"
    shell.run(f"{scp} data.bin $HOST:/workspace/")
    shell.run(f"{scp} $HOST:/workspace/data.bin copy.bin")
    shell.run('rsync -a -e "ssh -F ssh_config -p $KGPU_SSH_PORT" $HOST:/workspace/ out/')
    sums, _ = shell.run("sha256sum data.bin copy.bin out/data.bin")
    if len({line.split()[0] for line in sums.splitlines()}) != 1:
        raise StepFailed("the checksums differ")


def _exec(shell: _Shell) -> None:
    answer, _ = shell.run(
        f"curl -sSf -X POST $KGPU_API_BASE/pods/$RENT/exec {_AUTH} {_JSON} \\\n"
        """    -d '{"cmd":["nvidia-smi","-L"]}' | jq"""
    )
    done = json.loads(answer)
    if done["exit_code"] != 0 or "GPU 0" not in done["stdout"]:
        raise StepFailed("the command did not list the GPU")


def _detach(shell: _Shell) -> None:
    job = "setsid -f sh -c 'echo $$; exec sleep 600' < /dev/null > /tmp/job.pid 2>&1"
    ssh = "ssh -F ssh_config -p $KGPU_SSH_PORT $HOST"
    _, seconds = shell.run(f'{ssh} "{job.replace("$$", chr(92) + "$" + chr(92) + "$")}"')
    if seconds > _AT_ONCE_SECONDS:
        raise StepFailed(f"a detached job held the session for {seconds:.1f} s")
    shell.run(f"{ssh} 'kill -0 $(cat /tmp/job.pid) && echo the job still runs'")


def _release(shell: _Shell) -> None:
    spent = "jq '{pod_id, cost_credits, price_per_hour_credits}'"
    shell.run(f"curl -sSf $KGPU_API_BASE/pods/$RENT {_AUTH} | {spent}")
    shell.run(f"curl -sSf $KGPU_API_BASE/balance {_AUTH} | jq -c")
    shell.run(
        f"curl -sSf -X DELETE $KGPU_API_BASE/pods/$RENT {_AUTH} "
        "| jq '{phase, ended_at, end_reason, cost_credits}'"
    )
    refused, _ = shell.run("ssh -F ssh_config -p $KGPU_SSH_PORT $HOST nvidia-smi", code=255)
    if "Permission denied (publickey)" not in refused:
        raise StepFailed("the key should be refused now")
