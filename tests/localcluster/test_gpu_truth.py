"""A real NVIDIA GPU as a pod of the local cluster sees it. Skipped where there is none."""

import re
import subprocess
from collections.abc import AsyncIterator

import pytest

from kgpud import busy
from kgpud.localcluster.gpus import detect, model

from .clusters import Api

GPUS = detect()
pytestmark = pytest.mark.skipif(not GPUS, reason="this machine has no NVIDIA GPU (/dev/nvidia0)")

UUID = re.compile(rb"^GPU \d+: .*\(UUID: (GPU-[0-9a-f-]+)\)", re.MULTILINE)
INIT = "import ctypes; raise SystemExit(ctypes.CDLL('libcuda.so.1').cuInit(0))"


def there() -> dict[str, str]:
    """Select the node that has the host's first GPU."""
    return {"kgpu.net/gpu-model": model(GPUS[0].name)}


def of_the_host() -> bytes:
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=True, timeout=60)
    return listed.stdout


@pytest.fixture
async def one(api: Api) -> AsyncIterator[str]:
    limits = {"limits": {"nvidia.com/gpu": "1"}}
    await api.ready("with-a-gpu", nodeSelector=there(), resources=limits)
    yield "with-a-gpu"
    await api.delete("with-a-gpu")


async def test_a_pod_sees_exactly_the_gpu_that_it_asked_for(api: Api, one: str) -> None:
    listed = await api.execute(one, "nvidia-smi", "-L")
    assert listed.code == 0, listed
    [seen] = UUID.findall(listed.out)
    assert seen in UUID.findall(of_the_host())
    devices = await api.execute(one, "sh", "-c", "ls -d /dev/nvidia[0-9]*")
    assert len(devices.out.split()) == 1


async def test_the_driver_works_in_a_pod(api: Api, one: str) -> None:
    done = await api.execute(one, "python3", "-c", INIT)
    assert done.code == 0, done


async def test_the_look_for_idle_pods_reads_the_gpus_use(api: Api, one: str) -> None:
    done = await api.execute(one, *busy.command(1))
    assert re.search(rb"^gpu \d", done.out, re.MULTILINE), done
    assert busy.is_busy(done.out, gpus=1) is not None


async def test_a_pod_without_a_gpu_sees_none(api: Api) -> None:
    await api.ready("without-a-gpu", nodeSelector=there())
    devices = await api.execute("without-a-gpu", "sh", "-c", "ls -d /dev/nvidia[0-9]*")
    assert devices.out == b""
    await api.delete("without-a-gpu")
