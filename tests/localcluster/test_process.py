import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import psutil
import pytest

from kgpud.localcluster.errors import StartError
from kgpud.localcluster.fleet import read_fleet

from .clusters import (
    Api,
    Running,
    is_ready,
    pod,
    pods_folders,
    processes_of,
    running,
    until,
    wait_gone,
)


async def _with_a_busy_pod(cluster: Running) -> list[psutil.Process]:
    headers = {"Authorization": f"Bearer {cluster.token}"}
    async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
        api = Api(session)
        for name in ("one", "two"):
            await api.call("POST", "pods", pod(name))
            await api.wait(name, is_ready)
            await api.execute(name, "sh", "-c", "setsid sleep 600 >/dev/null 2>&1 </dev/null &")
    processes = processes_of(cluster)
    assert len(processes) >= 8
    return processes


async def test_sigkill_leaves_no_process_and_the_next_start_cleans(tmp_path: Path) -> None:
    with running(tmp_path) as cluster:
        processes = await _with_a_busy_pod(cluster)
        cluster.stop(signal.SIGKILL)
        assert wait_gone(processes) == []
    # Whichever cluster starts next removes the folders, another test's too.
    with running(tmp_path) as cluster:
        assert not [pods for pods in pods_folders(tmp_path) if list(pods.glob("pod-*"))]
        cluster.stop()
    assert pods_folders(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as cluster:
        processes = await _with_a_busy_pod(cluster)
        assert cluster.stop(number) == 0
        assert wait_gone(processes) == []
        assert pods_folders(tmp_path) == []
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]


async def test_it_dies_with_its_stdin(tmp_path: Path) -> None:
    with running(tmp_path, "--die-with-stdin", stdin=subprocess.PIPE) as cluster:
        processes = await _with_a_busy_pod(cluster)
        assert cluster.process.stdin is not None
        cluster.process.stdin.close()
        assert cluster.process.wait(20) == 0
        assert wait_gone(processes) == []


async def test_a_helper_that_is_killed_takes_its_pod_along_and_nothing_else(tmp_path: Path) -> None:
    with running(tmp_path) as cluster:
        await _with_a_busy_pod(cluster)
        helper = psutil.Process(cluster.process.pid).children()[0]
        its = [helper, *helper.children(recursive=True)]
        helper.kill()
        assert wait_gone(its) == []
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            api = Api(session)
            phases: set[str] = set()
            deadline = time.monotonic() + 20
            while phases != {"Failed", "Running"}:
                assert time.monotonic() < deadline
                phases = {(await api.get(name))["status"]["phase"] for name in ("one", "two")}


def _refused(state: Path, *options: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kgpud.localcluster", "--state", str(state), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, **env},
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_start_that_is_refused_says_why_in_one_line(tmp_path: Path) -> None:
    with running(tmp_path) as cluster:
        assert "another local cluster uses" in _refused(tmp_path)
        port = cluster.url.rpartition(":")[2]
        assert f"--port {port}: Address already in use" in _refused(
            tmp_path / "other", "--port", port
        )
    assert "HOST:PORT is wanted" in _refused(tmp_path, "--reach", "nonsense")
    assert "--fleet" in _refused(tmp_path, "--fleet", str(tmp_path / "none"))
    (tmp_path / "file").write_text("x")
    assert "--state" in _refused(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes: []", "nodes: a list of nodes is wanted"),
        ("nodes: [{name: a, gpu_model: x, gpus: 1, colour: red}]", "nodes[0].colour: unknown key"),
        ("nodes: [{name: a, gpu_model: x, gpus: many}]", "nodes[0].gpus: a whole number"),
        ("nodes: [{gpu_model: x, gpus: 1}]", "nodes[0].name: a string"),
        ("nodes: [{name: a, gpu_model: x, gpus: 1, memory: lots}]", "nodes[0].memory: a quantity"),
        ("nodes: [", "--fleet"),
        ("node: []", "nodes"),
    ],
)
def test_a_fleet_that_is_wrong_names_the_field(tmp_path: Path, text: str, said: str) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(text)
    with pytest.raises(StartError) as refused:
        read_fleet(fleet)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_fleet_of_ones_own(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("nodes: [{name: node-a, gpu_model: rtx4090, gpus: 3, cpu: 2, memory: 1Gi}]")
    with running(tmp_path / "state", "--fleet", str(fleet)) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            _status, listed = await Api(session).call("GET", "/api/v1/nodes")
    (node,) = listed["items"]
    assert json.dumps(node["status"]["allocatable"], sort_keys=True) == json.dumps(
        {
            "cpu": "2",
            "ephemeral-storage": "4Ti",
            "memory": "1Gi",
            "nvidia.com/gpu": "3",
            "pods": "110",
        }
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's pods may live in /var/tmp")
async def test_a_killed_clusters_folder_is_removed_by_any_later_start(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir(mode=0o700)
    with running(tmp_path / "killed") as cluster:
        await _with_a_busy_pod(cluster)
        assert len(pods_folders(tmp_path / "killed")) == 1
        processes = processes_of(cluster)
        cluster.stop(signal.SIGKILL)
        assert wait_gone(processes) == []
    # Not looked for in between: a cluster that another test starts is a later start as well.
    with running(tmp_path / "other"):
        await until(lambda: not pods_folders(tmp_path / "killed"))
