"""`kgpud dev`: ready means ready, a second start finds everything, nothing stays behind."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from .dev import Dev, eventually, make_key, output, rent, running

VARIABLES = {
    "KGPU_API_BASE",
    "KGPU_API_TOKEN",
    "KGPU_SSH_HOST",
    "KGPU_SSH_PORT",
    "KGPU_DASHBOARD",
    "KGPU_KNOWN_HOSTS",
    "KGPU_SSH_HOST_KEY",
    "KGPU_SSH_HOST_KEY_FINGERPRINT",
}


def pods_of(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


def test_the_environment_file(dev: Dev) -> None:
    env = dev.state / "dev.env"
    assert env.stat().st_mode & 0o777 == 0o600
    lines = [line.removeprefix("export ").split("=")[0] for line in env.read_text().splitlines()]
    assert set(lines) == VARIABLES
    assert output(["curl", "-sSf", dev.env["KGPU_DASHBOARD"]])
    said = dev.state.with_suffix(".out").read_text()
    assert "kgpud is ready" in said
    assert dev.env["KGPU_API_TOKEN"] not in said


def test_a_second_start_finds_the_account_and_ends_lost_rentals(tmp_path: Path) -> None:
    state, key = tmp_path / "state", make_key(tmp_path / "key")
    with running(state) as first:
        pod = rent(first, key)
        eventually(lambda: pod.view()["cost_credits"] > 0)
        token = first.env["KGPU_API_TOKEN"]
        family = pods_of(psutil.Process(first.process.pid))
        with pod.start("echo in; sleep 60") as inside:
            assert inside.stdout
            assert inside.stderr
            assert inside.stdout.readline() == b"in\n"
            assert first.stop(signal.SIGHUP) == 0
            assert b"its pods went with it" in inside.stderr.read()
        assert not psutil.wait_procs(family, timeout=5)[1]
    with running(state) as second:
        assert second.env["KGPU_API_TOKEN"] == token
        view = eventually(lambda: (v := second.api("GET", f"/pods/{pod.pod_id}"))["ended_at"] and v)
        assert view["end_reason"] == "local_cluster_stopped"
        eventually(lambda: second.api("GET", f"/pods/{pod.pod_id}")["phase"] == "Ended")
        balance = second.api("GET", "/balance")["credits"]
        assert balance == 100_000 - view["cost_credits"]
        again = rent(second, key)
        assert again.ssh("hostname").stdout.decode().strip() == again.pod_id


def test_kill_9_leaves_no_pod(tmp_path: Path) -> None:
    with running(tmp_path / "state") as dev:
        pod = rent(dev, make_key(tmp_path / "key"))
        assert pod.ssh("setsid -f sleep 300 </dev/null >/dev/null 2>&1").returncode == 0
        family = pods_of(psutil.Process(dev.process.pid))
        assert len(family) > 3
        dev.stop(signal.SIGKILL)
        assert not psutil.wait_procs(family, timeout=10)[1]


def test_kill_9_of_the_cluster_ends_the_daemon_with_a_line(tmp_path: Path) -> None:
    with running(tmp_path / "state") as dev:
        rent(dev, make_key(tmp_path / "key"))
        family = pods_of(psutil.Process(dev.process.pid))
        [cluster] = [one for one in family if "kgpud.localcluster" in one.cmdline()]
        cluster.kill()
        assert dev.process.wait(20) == 1
        assert not psutil.wait_procs(family, timeout=10)[1]
    said = (tmp_path / "state.out").read_text()
    assert "the local cluster ended" in said
    assert "Traceback" not in said


def refused(*options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kgpud", "dev", *options], capture_output=True, timeout=30
    )
    assert done.returncode != 0
    said = done.stderr.decode()
    assert "Traceback" not in said
    return said


def test_one_daemon_a_state(dev: Dev) -> None:
    env = (dev.state / "dev.env").read_bytes()
    assert "another kgpud" in refused("--state", str(dev.state))
    assert (dev.state / "dev.env").read_bytes() == env


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--state", str(tmp_path / "s"), "--http", f"127.0.0.1:{port}")
    assert str(port) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("fleet", "word"),
    [
        ("nodes: [{name: a, gpu_model: v100, gpus: 1, colour: red}]", "colour"),
        ("nodes: 3", "nodes"),
        ("{", "parsing"),
    ],
)
def test_a_bad_fleet_is_named(tmp_path: Path, fleet: str, word: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(fleet)
    assert word in refused("--state", str(tmp_path / "s"), "--fleet", str(path))


def test_a_fleet_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(
        "nodes: [{name: mine, gpu_model: rtx5090, gpus: 2}, {name: new, gpu_model: h100, gpus: 1}]"
    )
    with running(tmp_path / "state", "--fleet", str(path)) as dev:
        menu = dev.api("GET", "/gpu-models")
        assert [tuple(m.values()) for m in menu] == [("h100", 1, 1, 1000), ("rtx5090", 2, 2, 1400)]
        rent(dev, make_key(tmp_path / "key"), gpu_model="h100")


def test_the_demo_succeeds() -> None:
    env = {**os.environ, "TMPDIR": "/tmp"}
    argv = [sys.executable, "-m", "kgpud", "demo"]
    done = subprocess.run(argv, capture_output=True, timeout=100, env=env)
    assert done.returncode == 0, done.stdout
    assert b"Every step did what it should" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_told_to_end_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "kgpud", "demo"]
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env) as demo:
        assert demo.stdout
        assert any(b"ready in" in line for line in demo.stdout)
        family = pods_of(psutil.Process(demo.pid))
        assert len(family) > 1
        demo.send_signal(number)
        assert b"Aborted" in demo.stdout.read()
    assert demo.returncode == 1
    assert not psutil.wait_procs(family, timeout=5)[1]
    assert not list(tmp_path.iterdir())


def test_there_is_no_reload(dev: Dev) -> None:
    argv = [sys.executable, "-m", "kgpud", "reload", "--state", str(dev.state)]
    done = subprocess.run(argv, capture_output=True, timeout=30)
    assert (done.returncode, b"kgpud dev has no reload" in done.stderr) == (1, True)
    assert dev.api("GET", "/balance")["_status"] == 200
