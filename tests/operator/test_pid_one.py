"""What every rental's container runs first: in the shells that images have, as a real PID 1."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from kgpud.cluster import manifests
from tests.e2e.dev import eventually

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SHELLS = [["dash"], ["bash"], ["busybox", "sh"]]


@contextmanager
def container(shell: list[str]) -> Iterator[psutil.Process]:
    """Run it in a PID namespace of its own; yield it as seen from here."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]} here")
    assert manifests.IDLE[0] == "/bin/sh"
    alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *shell]
    argv, env = [*alone, *manifests.IDLE[1:]], {**os.environ, "KGPU_RENT_ID": "gpu-rent-1"}
    with subprocess.Popen(argv, env=env) as outside:
        try:
            eventually(lambda: len(_below(outside)) == 2)  # it, and what it waits for
            yield _below(outside)[0]
        finally:
            outside.kill()


def _below(outside: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return psutil.Process(outside.pid).children(recursive=True)


def orphans(first: psutil.Process) -> list[psutil.Process]:
    return [one for one in first.children() if "1000" in one.cmdline()]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_it_reaps_what_others_leave_keeps_its_environment_and_goes_when_told(
    shell: list[str],
) -> None:
    with container(shell) as first:
        inside = ["nsenter", "--target", str(first.pid), "--pid", "--mount", "sh", "-c"]
        subprocess.run([*inside, "sleep 1000 >/dev/null & exit"], check=True)
        # Not before the shell that was forked for it has become it.
        eventually(lambda: len(orphans(first)) == 1)
        [orphan] = orphans(first)
        orphan.kill()
        eventually(lambda: not psutil.pid_exists(orphan.pid))
        assert first.status() == psutil.STATUS_SLEEPING
        assert b"KGPU_RENT_ID=gpu-rent-1\0" in Path(f"/proc/{first.pid}/environ").read_bytes()
        first.terminate()
        eventually(lambda: not first.is_running())
