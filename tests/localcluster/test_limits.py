"""Limits of memory and CPU: by cgroup where the host lets us, else by a look now and then."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from kgpud.localcluster import cgroups
from kgpud.localcluster.cgroups import HELPER_BYTES, Layout, Limits, find_layout, settings
from kgpud.localcluster.memory import Sampler

from .clusters import Api, Document, Running, anywhere, is_ready, pod, running, until, wait_gone

_MEBIBYTE = 1 << 20
_V1 = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
_V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
_OF_THE_FIRST = Layout(1, Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/cpu,cpuacct"))
_OF_THE_SECOND = Layout(2, Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup"))


def test_the_layout_is_read_from_the_mounts() -> None:
    assert find_layout(_V1) == _OF_THE_FIRST
    assert find_layout(_V2) == _OF_THE_SECOND
    assert find_layout(_V1.replace("rw,memory\n", "rw,pids\n")) == Layout(
        2, Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/unified")
    )
    assert find_layout(_V1.splitlines()[0]) is None


def test_limits_in_the_words_of_each_version() -> None:
    limits = Limits(memory_bytes=64 * _MEBIBYTE, cpu_thousandths=1500)
    memory = str(64 * _MEBIBYTE + HELPER_BYTES)
    written = [(str(path), text) for path, text, _must in settings(_OF_THE_FIRST, limits)]
    assert written == [
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", memory),
        ("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", memory),
        ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000"),
    ]
    written = [(str(path), text) for path, text, _must in settings(_OF_THE_SECOND, limits)]
    assert written == [
        ("/sys/fs/cgroup/memory.max", memory),
        ("/sys/fs/cgroup/memory.swap.max", "0"),
        ("/sys/fs/cgroup/cpu.max", "150000 100000"),
    ]
    assert settings(_OF_THE_SECOND, Limits()) == []
    ((_path, least, _must),) = settings(_OF_THE_SECOND, Limits(cpu_thousandths=1))
    assert least == "1000 100000"


def test_kills_are_counted_in_either_file() -> None:
    assert cgroups.oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n") == 3
    assert cgroups.oom_kills("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n") == 1
    assert cgroups.oom_kills("oom_kill_disable 0\nunder_oom 0\n") == 0


@pytest.fixture
def trees() -> list[Path]:
    """The cgroup trees that a local cluster can use here."""
    with cgroups.held() as groups:
        if isinstance(groups, str):
            pytest.skip(groups)
    layout = find_layout(Path("/proc/self/mountinfo").read_text())
    assert layout is not None
    return layout.folders


def _groups_of(trees: list[Path], cluster: Running) -> list[Path]:
    return [one for tree in trees for one in tree.glob(f"kgpud-local-{cluster.process.pid}-*/*/")]


def _limited(**limits: str) -> dict[str, Any]:
    return {"resources": {"limits": limits}}


async def test_a_limited_pod_has_a_group_while_it_lives(trees: list[Path], tmp_path: Path) -> None:
    with running(tmp_path / "state") as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            api = Api(session)
            await api.ready("limited", **_limited(memory="96Mi", cpu="250m"))
            await api.ready("free")
            groups = _groups_of(trees, cluster)
            assert len(groups) == len(trees)
            assert all((one / "cgroup.procs").read_text() for one in groups)
            spin = "import os; os.fork(); x = sum(range(6_000_000))"
            assert (await api.execute("limited", "python3", "-c", spin)).code == 0
            await api.delete("limited", grace=1)
            await until(lambda: not _groups_of(trees, cluster))
        own = [one for tree in trees for one in tree.glob(f"kgpud-local-{cluster.process.pid}-*")]
        assert cluster.stop() == 0
    assert own
    assert not any(one.exists() for one in own)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's pods have users of their own")
async def test_a_pod_leaves_the_host_room_for_processes(api: Api, full: str) -> None:
    said = (await api.execute(full, "bash", "-c", "ulimit -u")).out
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    assert int(said) == min(32768, most // 4)


async def test_a_killed_cluster_leaves_no_group_to_the_next(
    trees: list[Path], tmp_path: Path
) -> None:
    with running(tmp_path / "killed") as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            await Api(session).ready("limited", **_limited(memory="96Mi", cpu="1"))
        groups = _groups_of(trees, cluster)
        assert groups
        processes = psutil.Process(cluster.process.pid).children(recursive=True)
        cluster.stop(signal.SIGKILL)
        assert wait_gone(processes) == []
    # Whichever is the next: other tests' clusters start meanwhile, too.
    with running(tmp_path / "next"):
        await until(lambda: not any(one.parent.exists() for one in groups))


async def test_the_largest_process_goes_where_nothing_else_holds_the_limit() -> None:
    child = "import sys, time; x = bytearray(int(sys.argv[1]) << 20); time.sleep(60)"
    start = (
        "import subprocess, sys; a = [sys.executable, '-c', sys.argv[1]];"
        "ps = [subprocess.Popen([*a, n]) for n in ('1', '200')]; print(ps[1].wait(), flush=True);"
        "ps[0].kill()"
    )
    helper = await asyncio.create_subprocess_exec(
        sys.executable, "-c", start, child, stdout=subprocess.PIPE
    )
    sampler = Sampler(helper.pid, 120 * _MEBIBYTE, 0.02)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        sampling = group.create_task(sampler.run())
        said = (await helper.communicate())[0].split()
        sampling.cancel()
    assert said[-1] == b"-9"
    assert sampler.kills == 1


async def test_without_cgroups_memory_is_watched(
    as_nobody: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    with anywhere() as folder:
        (folder / "fleet.yaml").write_text(
            "nodes: [{name: a, gpu_model: x, gpus: 1}]\ntimings: {memory_sample: 0.05}"
        )
        options = ("--fleet", str(folder / "fleet.yaml"))
        with running(folder / "state", *options, python=as_nobody) as cluster:
            headers = {"Authorization": f"Bearer {cluster.token}"}
            async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
                api = Api(session)
                hungry = "import time; x = bytearray(300 << 20); time.sleep(60)"
                command = ["python3", "-c", hungry]
                await api.call(
                    "POST", "pods", pod("hungry", command=command, **_limited(memory="64Mi"))
                )
                await api.call("POST", "pods", pod("modest", **_limited(memory="64Mi")))
                ended = await api.wait("hungry", lambda one: one["status"]["phase"] == "Failed")
                assert _terminated(ended)["reason"] == "OOMKilled"
                assert is_ready(await api.wait("modest", is_ready))
            cluster.stop()
    assert "by a look now and then, not by cgroups (not root)" in capfd.readouterr().err


def _terminated(document: Document) -> Document:
    state: Document = document["status"]["containerStatuses"][0]["state"]
    return dict(state["terminated"])
