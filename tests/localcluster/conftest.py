import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from .clusters import Api, Running, helpers_of, running, wait_gone

_AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
_CAN_RUN = (
    "import kgpud.localcluster.command, subprocess, sys;"
    "sys.exit(subprocess.run([sys.executable, '-I', '-S', '-c', '']).returncode)"
)
SHARED = {"shared-full": "kgpu-pytorch:latest", "shared-bare": "bare:latest"}


async def _start_shared_pods(cluster: Running) -> None:
    headers = {"Authorization": f"Bearer {cluster.token}"}
    async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
        for name, image in SHARED.items():
            await Api(session).ready(name, image=image)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One cluster, with a pod of each image, for all tests that don't end it."""
    with running(tmp_path_factory.mktemp("cluster")) as started:
        asyncio.run(_start_shared_pods(started))
        yield started


@pytest.fixture
async def api(cluster: Running) -> AsyncIterator[Api]:
    headers = {"Authorization": f"Bearer {cluster.token}"}
    async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
        yield Api(session)


@pytest.fixture
def full() -> str:
    """The name of a ready pod of kgpu-pytorch, where a test leaves no process behind."""
    return "shared-full"


@pytest.fixture
def bare() -> str:
    """The name of a ready pod of bare, where a test leaves no process behind."""
    return "shared-bare"


@pytest.fixture
async def own(api: Api, cluster: Running, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The name of a ready pod of the test's own."""
    name = f"own-{abs(hash(request.node.nodeid))}"
    before = set(helpers_of(cluster))
    await api.ready(name)
    yield name
    helpers = set(helpers_of(cluster)) - before
    tree = [one for helper in helpers for one in (helper, *helper.children(recursive=True))]
    await api.delete(name)
    assert await asyncio.to_thread(wait_gone, tree) == []


@pytest.fixture(scope="session")
def as_nobody() -> tuple[str, ...]:
    """A Python with this one's packages that runs as an ordinary user, and as that can start."""
    prefix: tuple[str, ...] = ("env", f"PYTHONPATH={':'.join(filter(None, sys.path))}")
    prefix += _AS_NOBODY if os.geteuid() == 0 else ()
    for python in (sys.executable, "/usr/bin/python3"):
        argv = [*prefix, python, "-c", _CAN_RUN]
        if subprocess.run(argv, check=False, capture_output=True).returncode == 0:
            return (*prefix, python)
    pytest.skip("an ordinary user can't run Python here")
