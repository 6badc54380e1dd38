"""A daemon whose cluster is reached through chaos: right, or broken and said so; never a hang."""

import hashlib
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.dev import Pod, eventually

from . import chaos
from .faults import Fault, drawn
from .stack import Stack

BROKEN = 255
_WITHIN = 60.0
_AT_ONCE = 8
SEEDS = range(16)
MANY_SEEDS = range(100, 400)


@dataclass(frozen=True)
class Run:
    """One client: what it was given, what it gave back, and what it should have."""

    code: int
    out: bytes
    err: bytes
    right_code: int
    right_out: bytes

    def check(self) -> None:
        """Check that it is right, or that it is broken, says so, and gave nothing wrong."""
        if (self.code, self.out) == (self.right_code, self.right_out):
            return
        assert self.code == BROKEN, (self.code, self.err)
        assert re.search(rb"^kgpud: .+\n", self.err, re.MULTILINE), self.err
        assert self.right_out.startswith(self.out)


def ssh(pod: Pod, script: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    argv = pod.argv("-T", script)
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=_WITHIN)


def a_command(pod: Pod, seed: int) -> Run:
    code = seed % 200
    done = ssh(pod, f": seed={seed}; echo out; echo err >&2; exit {code}")
    return Run(done.returncode, done.stdout, done.stderr, code, b"out\n")


def a_download(pod: Pod, seed: int) -> Run:
    size = random.Random(seed).choice([1000, 40_000, 1_000_000])
    done = ssh(pod, f": seed={seed + 1000}; head -c {size} /dev/zero | tr '\\0' x")
    return Run(done.returncode, done.stdout, done.stderr, 0, b"x" * size)


def an_upload(pod: Pod, seed: int) -> Run:
    chance = random.Random(seed)
    data = chance.randbytes(chance.choice([1000, 40_000, 1_000_000]))
    path = f"/tmp/up{seed}"
    done = ssh(pod, f": seed={seed + 2000}; cat >{path} && sha256sum <{path}", data)
    digest = hashlib.sha256(data).hexdigest()
    return Run(done.returncode, done.stdout, done.stderr, 0, f"{digest}  -\n".encode())


KINDS = {"command": a_command, "download": a_download, "upload": an_upload}


def by_word(_number: int, word: str) -> Fault | None:
    """Draw a client's fault by the seed in its command: the same in whatever order they come."""
    found = re.search(r": seed=(\d+);", word)
    return drawn(int(found[1]), 0, 1.0) if found else None


def all_of(world: Stack, pod: Pod, seeds: range) -> dict[tuple[str, int], Run]:
    world.chaos.draw = by_word
    try:
        with ThreadPoolExecutor(_AT_ONCE) as at_once:
            asked = {
                (kind, seed): at_once.submit(run, pod, seed)
                for seed in seeds
                for kind, run in KINDS.items()
            }
            return {which: future.result() for which, future in asked.items()}
    finally:
        world.chaos.draw = chaos.calm


@pytest.fixture(scope="module")
def runs(world: Stack, pod: Pod) -> dict[tuple[str, int], Run]:
    return all_of(world, pod, SEEDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_client_is_right_or_told(runs: dict[tuple[str, int], Run], kind: str, seed: int) -> None:
    runs[kind, seed].check()


def test_what_was_cut_runs_no_more(runs: dict[tuple[str, int], Run], pod: Pod) -> None:
    """Not even what began after its client was told that it did not."""
    assert runs
    look = "pgrep -f ': [s]eed=' || true"
    eventually(lambda: not pod.ssh(look).stdout, 40)


def test_the_seeds_did_both(runs: dict[tuple[str, int], Run]) -> None:
    broken = [run for run in runs.values() if run.code == BROKEN]
    assert 5 < len(broken) < len(runs) - 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_clients_are_right_or_told(world: Stack, pod: Pod) -> None:
    wrong = {}
    for which, run in all_of(world, pod, MANY_SEEDS).items():
        try:
            run.check()
        except AssertionError as error:
            wrong[which] = error
    assert not wrong


def copy(pod: Pod, old: bool, source: str, target: str) -> subprocess.CompletedProcess[bytes]:
    """Run scp, with its old protocol or over SFTP."""
    argv = ["scp", *(["-O"] if old else []), *pod.options, "-P", pod.port]
    places = [place.replace("POD:", f"{pod.where}:") for place in (source, target)]
    return subprocess.run([*argv, *places], capture_output=True, timeout=_WITHIN)


def copied(world: Stack, pod: Pod, folder: Path, seed: int, *, old: bool) -> bool:
    """Copy a file up and down through chaos; return whether both went well."""
    data = random.Random(seed).randbytes(random.Random(-seed).choice([1000, 200_000, 1_000_000]))
    path, back, there = folder / "data", folder / "back", f"POD:/tmp/copy{seed}{old:d}"
    path.write_bytes(data)
    back.unlink(missing_ok=True)
    world.chaos.draw = chaos.by_seed(seed, 0.5)
    try:
        up = copy(pod, old, str(path), there)
    finally:
        world.chaos.draw = chaos.calm
    assert up.returncode == 0 or up.stderr
    if up.returncode:
        return False
    digest = ssh(pod, f"sha256sum <{there.removeprefix('POD:')}").stdout
    assert digest.split()[0].decode() == hashlib.sha256(data).hexdigest()
    world.chaos.draw = chaos.by_seed(-seed, 0.5)
    try:
        down = copy(pod, old, there, str(back))
    finally:
        world.chaos.draw = chaos.calm
    assert down.returncode == 0 or down.stderr
    if down.returncode == 0:
        assert back.read_bytes() == data
    return down.returncode == 0


@pytest.mark.parametrize("old", [True, False], ids=["scp -O", "scp"])
def test_a_copy_is_right_or_told(world: Stack, pod: Pod, tmp_path: Path, old: bool) -> None:
    well = [copied(world, pod, tmp_path, seed, old=old) for seed in range(1, 9)]
    assert True in well
    assert False in well


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("old", [True, False], ids=["scp -O", "scp"])
def test_many_copies_are_right_or_told(world: Stack, pod: Pod, tmp_path: Path, old: bool) -> None:
    for seed in MANY_SEEDS:
        copied(world, pod, tmp_path, seed, old=old)


def test_the_proxy_runs_alone(world: Stack) -> None:
    to = f"127.0.0.1:{world.chaos.port}"
    argv = [sys.executable, "-m", "tests.lies.chaos", "--to", to, "--round-trip", "5"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().split()[0].decode()
            asked = ["curl", "-sS", "-m", "20", f"http://{address}/version"]
            done = subprocess.run(asked, capture_output=True, timeout=_WITHIN)
            assert b"Unauthorized" in done.stdout or b"gitVersion" in done.stdout
        finally:
            process.terminate()
