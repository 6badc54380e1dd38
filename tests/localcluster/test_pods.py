import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from .clusters import Api, Running, is_ready, pod, running, until


async def _say(api: Api, name: str, script: str) -> str:
    result = await api.execute(name, "sh", "-c", script)
    assert result.code == 0, result
    return result.out.decode()


async def test_the_full_image_has_the_hosts_tools(api: Api, full: str) -> None:
    assert await _say(api, full, "id -u; pwd; hostname; echo $HOME") == (
        f"0\n/workspace\n{full}\n/root\n"
    )
    assert "ok" in await _say(api, full, "python -c 'print(\"ok\")'")
    assert await _say(api, full, "touch /usr/x 2>/dev/null || echo read-only") == "read-only\n"


async def test_the_bare_image_has_busybox_and_nothing_else(api: Api, bare: str) -> None:
    assert await _say(api, bare, "ls /usr; ls /lib /etc | head -3; cat --help 2>&1 | head -1")
    for name in ("scp", "rsync", "sftp-server", "bash", "python3"):
        assert (await api.execute(bare, "sh", "-c", f"command -v {name}")).code != 0
    assert (await api.execute(bare, "/usr/lib/openssh/sftp-server")).code is None
    assert await _say(api, bare, "echo a b | awk '{print $2}'; tar cf - /etc | wc -c")


async def test_a_pod_sees_nothing_of_the_host(
    api: Api, full: str, bare: str, cluster: Running
) -> None:
    secret = str(cluster.state / "kubeconfig")
    for name in (full, bare):
        assert (await api.execute(name, "cat", secret)).code == 1
        assert await _say(api, name, "ls -A /root /home") == "/home:\n\n/root:\n"
        assert await _say(api, name, "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' '") == "lo\n"
        assert (await api.execute(name, "sh", "-c", "echo x > /proc/sys/kernel/core_pattern")).code
    processes = await _say(api, full, "ls /proc | grep -c '^[0-9]'")
    assert int(processes) < 40


@pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user a pod has that user's uid")
async def test_uid_0_in_the_pod_is_nobody_on_the_host(cluster: Running) -> None:
    uids = set()
    for one in psutil.Process(cluster.process.pid).children(recursive=True):
        uids.add(one.uids().real)
    assert 0 not in uids
    assert len(uids) >= 2


async def test_chown_seems_to_work(api: Api, full: str) -> None:
    script = "cd /tmp; echo x > f; chown 1:2 f; tar cf t f; rm f; tar xf t; cat f"
    assert await _say(api, full, script) == "x\n"


async def test_orphans_are_reaped(api: Api, full: str) -> None:
    await _say(api, full, "(sleep 0.05 &) ; (setsid sleep 0.05 &)")
    await asyncio.sleep(0.2)
    assert await _say(api, full, "cat /proc/[0-9]*/stat | grep -c ' Z ' || true") == "0\n"


async def test_a_simulated_gpu_says_so(api: Api) -> None:
    limits = {"nvidia.com/gpu": "2"}
    selector = {"kgpu.net/gpu-model": "rtx3090"}
    await api.ready("gpus", resources={"limits": limits}, nodeSelector=selector)
    listed = (await _say(api, "gpus", "nvidia-smi -L")).splitlines()
    assert [line.split(" (UUID: GPU-")[0] for line in listed] == [
        "GPU 0: NVIDIA GeForce RTX 3090",
        "GPU 1: NVIDIA GeForce RTX 3090",
    ]
    assert len(set(listed)) == 2
    query = "nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits"
    assert await _say(api, "gpus", query) == "0\n0\n"
    assert "SIMULATED" in await _say(api, "gpus", "nvidia-smi")
    await api.delete("gpus")


async def test_without_a_gpu_none_is_found(api: Api, full: str) -> None:
    assert (await _say(api, full, "nvidia-smi -L || true")) == "No devices were found\n"


async def test_volumes_memory_and_working_folder(api: Api) -> None:
    volumes: list[dict[str, Any]] = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "data", "emptyDir": {}},
    ]
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "data", "mountPath": "/data/x"}]
    await api.ready("volumes", volumes=volumes, volumeMounts=mounts, workingDir="/srv/app")
    assert await _say(api, "volumes", "pwd; df -P -m /dev/shm | awk 'NR==2{print $1, $2}'") == (
        "/srv/app\ntmpfs 64\n"
    )
    await _say(api, "volumes", "echo 1 > /data/x/f; echo 1 > /dev/shm/f")
    await api.delete("volumes")


async def test_a_pods_folder_goes_with_it_whatever_is_in_it(api: Api, cluster: Running) -> None:
    created = await api.ready("nasty")
    keep = cluster.state / "keep"
    keep.write_text("x")
    script = (
        "import os\n"
        "os.makedirs('/workspace/a/b'); open('/workspace/a/f','w'); os.chmod('/workspace/a', 0)\n"
        f"os.symlink({str(keep)!r}, '/workspace/link'); os.symlink('/', '/workspace/root')\n"
        "for _ in range(1200): os.mkdir('d'); os.chdir('d')\n"
    )
    assert (await api.execute("nasty", "python3", "-c", script)).code == 0
    folder = f"pod-{created['metadata']['uid']}"
    found = [
        path
        for base in (cluster.state / "pods", *Path("/var/tmp").glob("kgpud-pods-*"))
        for path in base.glob(f"{folder}*")
    ]
    assert len(found) == 1
    await api.delete("nasty")
    async with asyncio.timeout(20):
        await until(lambda: not list(found[0].parent.glob(f"{folder}*")))
    assert keep.read_text() == "x"


@pytest.fixture
async def outside() -> AsyncIterator[tuple[str, int]]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        writer.write(b"got %d\n" % len(data))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield host, port


async def test_only_what_is_reachable_is_reached(outside: tuple[str, int], tmp_path: Path) -> None:
    host, port = outside
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    options = ["--reach", f"{host}:{port}", "--reach", f"127.0.0.1:{closed.getsockname()[1]}"]
    with closed, running(tmp_path, *options, "--reach", "localhost:9") as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            api = Api(session)
            await api.call("POST", "pods", pod("reaching"))
            await api.wait("reaching", is_ready)
            script = (
                "import socket, sys\n"
                "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
                "s.sendall(b'x' * 5_000_000); s.shutdown(1); print(s.recv(99))"
            )
            argv = ("python3", "-c", script)
            result = await api.execute("reaching", *argv, host, str(port))
            assert result.out == b"b'got 5000000\\n'\n"
            own = cluster.url.rpartition(":")[2]
            assert (await api.execute("reaching", *argv, "127.0.0.1", own)).code == 1
            assert (await api.execute("reaching", *argv, "10.0.0.1", "80")).code == 1
            refused = await api.execute("reaching", *argv, *options[3].split(":"))
            assert refused.code in (0, 1)
            assert b"got" not in refused.out


_LISTEN = (
    "import socket; s = socket.socket(); s.bind(('', 8000)); s.listen(); print('up', flush=True)\n"
    "while True: s.accept()[0].close()"
)
_TRY = (
    "import socket, sys\n"
    "for one in sys.argv[1:]:\n"
    "    host, _, port = one.rpartition(':')\n"
    "    try: socket.create_connection((host, int(port)), 2).close(); print('reached', one)\n"
    "    except OSError: pass\n"
)


def _host_addresses() -> set[str]:
    found = {one.address for some in psutil.net_if_addrs().values() for one in some}
    return {address for address in found if address.count(".") == 3}


async def test_a_pod_reaches_no_other_pod_no_host_and_not_the_cluster(
    api: Api, cluster: Running, full: str, bare: str, outside: tuple[str, int]
) -> None:
    probe = {"tcpSocket": {"port": 8000}, "periodSeconds": 1}
    command = ["python3", "-c", _LISTEN]
    listening = await api.ready("listening", command=command, readinessProbe=probe)
    own = listening["status"]["podIP"]
    other = (await api.get(bare))["status"]["podIP"]
    assert own != other
    port = cluster.url.rpartition(":")[2]
    places = [f"{own}:8000", f"{own}:{port}"]
    for address in _host_addresses() | {"127.0.0.1", "127.0.0.2"}:
        places += [f"{address}:{port}", f"{address}:{outside[1]}"]
    result = await api.execute(full, "python3", "-c", _TRY, *places, "1.1.1.1:53")
    assert (result.code, result.out) == (0, b"")
    result = await api.execute("listening", "python3", "-c", _TRY, f"{own}:8000", "127.0.0.1:8000")
    assert result.out.decode() == f"reached {own}:8000\nreached 127.0.0.1:8000\n"
    await api.delete("listening")
