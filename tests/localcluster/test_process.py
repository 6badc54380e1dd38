import json
import os
import platform
import resource
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
    Result,
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
        await until(lambda: not any(list(one.glob("left-*")) for one in pods_folders(tmp_path)))
        cluster.stop()
    assert pods_folders(tmp_path) == []


async def _namespaces(state: Path) -> set[tuple[str, str]]:
    with running(state) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            _, found = await Api(session).call("GET", "/api/v1/namespaces")
    return {(one["metadata"]["name"], one["metadata"]["uid"]) for one in found["items"]}


async def test_it_is_known_again_wherever_its_folder_went(tmp_path: Path) -> None:
    before = await _namespaces(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert await _namespaces(tmp_path / "there") == before
    assert not await _namespaces(tmp_path / "another") & before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as cluster:
        processes = await _with_a_busy_pod(cluster)
        assert cluster.stop(number) == 0
        assert wait_gone(processes) == []
        assert pods_folders(tmp_path) == []
        assert sorted(path.name for path in tmp_path.iterdir()) == ["cluster.id", "lock"]


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


_WITH_A_KEY = (
    "import ctypes, os, sys; call = ctypes.CDLL(None).syscall;"
    "call(250, 1, None);"  # a session keyring of its own (keyctl)
    "assert call(248, b'user', b'of-the-host', b'secret', 6, ctypes.c_long(-3)) > 0;"  # add_key
    "os.execv(sys.argv[1], sys.argv[1:])"
)
_LOOKED_FOR = (
    "import ctypes; call = ctypes.CDLL(None).syscall;"
    "print(call(250, 10, ctypes.c_long(-3), b'user', b'of-the-host', 0))"
)


@pytest.fixture
def with_a_key() -> None:
    """Needs a kernel that lets us have keys."""
    tried = [sys.executable, "-c", _WITH_A_KEY, "/bin/true"]
    if subprocess.run(tried, check=False, capture_output=True).returncode != 0:
        pytest.skip("there are no keyrings here, or not for us")


@pytest.mark.usefixtures("with_a_key")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the calls' numbers are x86-64's")
async def test_the_hosts_keys_are_not_the_pods(tmp_path: Path) -> None:
    with running(tmp_path, python=(sys.executable, "-c", _WITH_A_KEY, sys.executable)) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            api = Api(session)
            await api.ready("curious")
            assert (await api.execute("curious", "python3", "-c", _LOOKED_FOR)).out == b"-1\n"


async def _lacking_descriptors(api: Api, cluster: Running) -> Result:
    """Run a command on a terminal that the cluster has no descriptor for."""
    await api.get("lacks")  # on a connection that the exec uses too
    used = {int(one) for one in os.listdir(f"/proc/{cluster.process.pid}/fd")}
    limits = resource.prlimit(cluster.process.pid, resource.RLIMIT_NOFILE)
    first_free = next(one for one in range(limits[1]) if one not in used)
    resource.prlimit(cluster.process.pid, resource.RLIMIT_NOFILE, (first_free, limits[1]))
    try:
        return await api.execute("lacks", "true", tty=True)
    finally:
        resource.prlimit(cluster.process.pid, resource.RLIMIT_NOFILE, limits)


async def test_without_a_descriptor_left_an_exec_is_refused_and_nothing_ends(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            api = Api(session)
            probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
            await api.ready("lacks", image="bare:latest", readinessProbe=probe)
            while (refused := await _lacking_descriptors(api, cluster)).code == 0:
                pass  # a connection that was just ending has made room
            assert refused.status is not None
            assert "Too many open files" in refused.status["message"]
            for tty in (True, False):
                assert (await api.execute("lacks", "true", tty=tty)).code == 0
            assert is_ready(await api.get("lacks"))


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
    (tmp_path / "half/kubeconfig.new").mkdir(parents=True)
    assert "kubeconfig: Is a directory" in _refused(tmp_path / "half")


async def test_a_strict_umask_is_not_the_pods(tmp_path: Path) -> None:
    strict = ("sh", "-c", 'umask 077; exec "$@"', "sh", sys.executable)
    with running(tmp_path, python=strict) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            api = Api(session)
            await api.ready("open", image="bare:latest")
            made = await api.execute("open", "sh", "-c", "umask; > /tmp/x; stat -c %a /tmp/x")
            assert made.out == b"0022\n644\n"
        assert (tmp_path / "kubeconfig").stat().st_mode & 0o777 == 0o600


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
