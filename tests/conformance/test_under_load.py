"""The daemon killed again and again under many clients: who was told a success has it."""

import hashlib
import os
import random
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from tests.e2e.dev import Pod, eventually, make_key

from .conftest import Target, running
from .test_rental import MIB, said

ROUNDS, CLIENTS = 4, 4
# What a client may take to find out, at most.
SECONDS = 120
LOOK = "cd /proc && for p in [0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done 2>/dev/null"


@dataclass(frozen=True)
class Copy:
    """One client's way of getting a file there. `code` is what it exits with if all went well."""

    argv: list[str]
    stdin: Path | None
    code: int
    there: str


def copies(pod: Pod, file: Path, number: int) -> list[Copy]:
    """Return how a file is sent: through a command, by both protocols of scp, by rsync."""
    there = [f"/workspace/{way}-{number}" for way in ("ssh", "scp", "old", "rsync")]
    scp = ["scp", *pod.options, "-P", pod.port]
    shell = " ".join(["ssh", *pod.options, "-p", pod.port])
    return [
        Copy(pod.argv(f"cat > {there[0]}; exit 5"), file, 5, there[0]),
        Copy([*scp, str(file), f"{pod.where}:{there[1]}"], None, 0, there[1]),
        Copy([*scp, "-O", str(file), f"{pod.where}:{there[2]}"], None, 0, there[2]),
        Copy(["rsync", "-e", shell, str(file), f"{pod.where}:{there[3]}"], None, 0, there[3]),
    ]


def finished(copy: Copy) -> bool:
    """Run a client to its end; tell whether it says that all went well."""
    stdin = copy.stdin.open("rb") if copy.stdin else None
    try:
        done = subprocess.run(copy.argv, stdin=stdin, capture_output=True, timeout=SECONDS)
    finally:
        if stdin:
            stdin.close()
    # The command's own code, or a failure: ssh must not take a broken stream for the other's 0.
    assert done.returncode == copy.code or done.returncode != 0, (copy, done)
    return done.returncode == copy.code


def nothing_left(pod: Pod) -> bool:
    lines = said(pod, LOOK).splitlines()
    ours = ("cat >", "scp", "rsync", "sftp-server", "tar ")
    return not [line for line in lines if any(word in line for word in ours) and LOOK not in line]


@pytest.mark.slow
def test_no_copy_that_is_called_whole_is_not_and_nothing_stays_in_the_pod(
    target: Target, folder: Path, tmp_path: Path
) -> None:
    key, dice = make_key(tmp_path / "key"), random.Random(6)
    file = tmp_path / "file"
    file.write_bytes(os.urandom(MIB) * 24)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    token, pod_id, whole, broken = None, "", 0, 0
    for number in range(ROUNDS):
        last = number == ROUNDS - 1
        with running(target, folder, token) as site:
            token = site.dev.env["KGPU_API_TOKEN"]
            pod_id = pod_id or site.rent(key, gpu_count=0).pod_id
            pod = Pod(site.dev, pod_id, key)
            wanted = [one for n in range(CLIENTS) for one in copies(pod, file, number * 100 + n)]
            with ThreadPoolExecutor(len(wanted)) as pool:
                told = [pool.submit(finished, copy) for copy in wanted]
                if not last:
                    some = dice.randrange(1, len(wanted) // 2)
                    list(islice(as_completed(told), some))
                    site.dev.process.send_signal(signal.SIGKILL)
                well = [copy for copy, one in zip(wanted, told, strict=True) if one.result()]
        with running(target, folder, token) as again:
            pod = Pod(again.dev, pod_id, key)
            for copy in well:
                assert said(pod, f"sha256sum {copy.there}").startswith(digest), copy
            eventually(partial(nothing_left, pod), 60)
            said(pod, "rm -f /workspace/*")
            whole, broken = whole + len(well), broken + len(wanted) - len(well)
            if last:
                assert pod.release()["end_reason"] == "returned"
    assert whole >= len(wanted)
    assert broken > 0
