"""What goes wrong says so: streams that break, clients that crowd in, commands that never end."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil

from .dev import Dev, Pod, eventually, make_key, rent, running


def test_exec_past_its_timeout_is_killed_in_the_pod(dev: Dev, pod: Pod) -> None:
    path = f"/pods/{pod.pod_id}/exec"
    script = "echo $$; trap '' TERM; sleep 4243 & wait; sleep 4243"
    began = time.monotonic()
    done = dev.api("POST", path, {"cmd": ["sh", "-c", script], "timeout_seconds": 1})
    assert time.monotonic() - began < 20
    assert (done["_status"], done["exit_code"], done["timed_out"]) == (200, 124, True)
    pid = done["stdout"].strip()
    assert pid.isdigit()
    assert pod.ssh(f"kill -0 {pid} 2>/dev/null || echo gone").stdout == b"gone\n"
    assert b"4243" not in pod.ssh("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -v grep").stdout


def test_exec_truncates_and_says_so(dev: Dev, pod: Pod) -> None:
    done = dev.api("POST", f"/pods/{pod.pod_id}/exec", {"cmd": ["head", "-c3000000", "/dev/zero"]})
    assert (done["exit_code"], done["truncated"]) == (0, True)
    assert len(done["stdout"]) == 1024 * 1024


def test_exec_keeps_the_in_pod_token_which_reaches_the_api_from_inside(dev: Dev, pod: Pod) -> None:
    script = 'curl -sS -m 10 -H "Authorization: Bearer $KGPU_API_TOKEN" $KGPU_API_BASE/me'
    done = dev.api("POST", f"/pods/{pod.pod_id}/exec", {"cmd": ["sh", "-c", script]})
    assert '"dev@localhost"' in done["stdout"], done


def test_a_pod_reaches_nothing_else(pod: Pod) -> None:
    port = pod.port
    assert pod.ssh(f"exec 9<>/dev/tcp/127.0.0.1/{port}").returncode != 0
    assert pod.ssh("timeout 3 bash -c 'exec 9<>/dev/tcp/192.0.2.1/80'").returncode != 0


def test_thirty_clients_at_once(pod: Pod) -> None:
    clients = [pod.start(f"cat; exit {n}") for n in range(30)]
    payloads = [os.urandom(50_000 + n) for n in range(30)]
    answers: dict[int, tuple[bytes, int]] = {}

    def talk(n: int) -> None:
        out, _ = clients[n].communicate(payloads[n], timeout=60)
        answers[n] = out, clients[n].returncode

    threads = [threading.Thread(target=talk, args=(n,)) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: (payloads[n], n) for n in range(30)}


def test_a_client_stopped_in_mid_transfer_costs_no_one_else(pod: Pod, tmp_path: Path) -> None:
    stalled = pod.start("cat /dev/zero")
    assert stalled.stdout
    stalled.stdout.read(1000)
    stalled.send_signal(signal.SIGSTOP)
    try:
        data = tmp_path / "data"
        data.write_bytes(os.urandom(3_000_000))
        pod.scp("-O", str(data), "POD:/workspace/data")
        pod.scp("-O", "POD:/workspace/data", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == data.read_bytes()
    finally:
        stalled.send_signal(signal.SIGCONT)
        stalled.kill()
        stalled.communicate()


def test_release_in_mid_copy_is_no_success(dev: Dev, tmp_path: Path) -> None:
    pod = rent(dev, make_key(tmp_path / "key"))
    pod.ssh("truncate -s 20G /workspace/big")
    argv = ["scp", "-O", "-q", *pod.options, "-P", pod.port, f"{pod.where}:/workspace/big"]
    copy = subprocess.Popen([*argv, "/dev/null"], stderr=subprocess.PIPE)
    eventually(lambda: psutil.Process(copy.pid).io_counters().read_chars > 1_000_000)
    pod.release()
    _, said = copy.communicate(timeout=20)
    assert copy.returncode != 0
    assert b"the rental was released" in said


def test_a_pod_whose_first_process_ends_takes_its_sessions_along(dev: Dev, tmp_path: Path) -> None:
    pod = rent(dev, make_key(tmp_path / "key"))
    client = pod.start("echo in; sleep 100")
    assert client.stdout
    assert client.stdout.readline() == b"in\n"
    pod.ssh("kill 1")
    client.communicate(timeout=20)
    assert client.returncode != 0
    ended = eventually(lambda: (view := pod.view())["phase"] == "Ended" and view)
    assert ended["end_reason"].startswith("pod_failed:")
    assert b"Permission denied" in pod.ssh("true").stderr


def test_stop_does_not_wait_for_a_session(tmp_path: Path) -> None:
    with running(tmp_path / "state") as dev:
        client = rent(dev, make_key(tmp_path / "key")).start("echo in; sleep 100")
        assert client.stdout
        assert client.stdout.readline() == b"in\n"
        began = time.monotonic()
        assert dev.stop() == 0
        assert time.monotonic() - began < 15
        client.communicate(timeout=20)
        assert client.returncode == 255
