"""A rental on a cluster, through the clients that people have. Nothing here knows which cluster."""

import hashlib
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.dev import Pod, eventually

MIB = 1 << 20


def said(pod: Pod, script: str) -> str:
    done = pod.ssh(script)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    ("script", "code"),
    [("true", 0), ("exit 7", 7), ("no-such-program", 127), ("kill -9 $$", 137), ("false", 1)],
)
def test_an_exit_code_is_the_commands_own(pod: Pod, script: str, code: int) -> None:
    assert pod.ssh(script).returncode == code


def test_bytes_arrive_both_ways_and_the_end_of_input_too(pod: Pod) -> None:
    data = os.urandom(MIB) * 16
    done = pod.ssh("sha256sum; exit 5", stdin=data)
    digest = hashlib.sha256(data).hexdigest()
    assert (done.returncode, done.stdout.split()[0].decode()) == (5, digest)
    back = pod.ssh("cat; exit 6", stdin=data)
    assert (back.returncode, back.stdout == data) == (6, True)


def test_a_command_that_reads_nothing_ends_all_the_same(pod: Pod) -> None:
    assert pod.ssh("exit 3", stdin=bytes(MIB)).returncode == 3


def test_copies_are_whole(pod: Pod, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    for number in range(20):
        (tree / "deep" / f"{number}").write_bytes(os.urandom(1000 * number))
    pod.scp("-O", "-r", str(tree), "POD:/workspace/scp")
    pod.rsync("-a", f"{tree}/", "POD:/workspace/rsync")
    for way in ("scp", "rsync"):
        back = tmp_path / way
        pod.rsync("-a", f"POD:/workspace/{way}/", f"{back}/")
        for path in (tree / "deep").iterdir():
            assert (back / "deep" / path.name).read_bytes() == path.read_bytes()
    pod.scp("-O", "POD:/workspace/scp/deep/19", str(tmp_path / "one"))
    assert (tmp_path / "one").read_bytes() == (tree / "deep" / "19").read_bytes()
    pod.scp("-O", str(tmp_path / "one"), "POD:/no/such/place", code=1)


def test_the_pod_is_what_was_promised(pod: Pod) -> None:
    assert said(pod, "cd /workspace && touch here && id -u && df -P /dev/shm | tail -1") != ""
    init = said(pod, "tr '\\0' '\\n' < /proc/1/environ")
    assert f"KGPU_RENT_ID={pod.pod_id}" in init
    assert "NVIDIA_VISIBLE_DEVICES=void" in init
    assert "KGPU_API_TOKEN=kgpu_pod_" in init
    assert "KGPU_API_TOKEN" not in said(pod, "env")
    assert said(pod, "ls /var/run/secrets/kubernetes.io 2>/dev/null || echo none") == "none"
    assert said(pod, "nvidia-smi -L | grep -c '^GPU '") == "1"


def test_one_shot_commands_over_rest(pod: Pod) -> None:
    body = {"cmd": ["sh", "-c", "cat; echo oops >&2; exit 4"], "stdin": "hello"}
    answer = pod.dev.api("POST", f"/pods/{pod.pod_id}/exec", body)
    kept = {name: answer[name] for name in ("exit_code", "stdout", "stderr", "truncated")}
    assert kept == {"exit_code": 4, "stdout": "hello", "stderr": "oops\n", "truncated": False}


def test_what_a_client_leaves_behind_is_ended_and_what_it_detached_is_not(pod: Pod) -> None:
    script = "setsid -f sleep 4321 </dev/null >/dev/null 2>&1; echo up; sleep 1234 & cat"
    with pod.start(script) as client:
        assert client.stdout
        assert client.stdout.readline() == b"up\n"
        client.send_signal(signal.SIGKILL)
        client.wait(60)
    look = "ls -d /proc/[0-9]* | while read p; do tr '\\0' ' ' < $p/cmdline; echo; done 2>/dev/null"
    eventually(lambda: "sleep 1234" not in said(pod, look), 60)
    assert "sleep 4321" in said(pod, look)
