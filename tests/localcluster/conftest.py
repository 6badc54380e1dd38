from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from .clusters import Api, Running, is_ready, pod, running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One cluster for all tests that don't end it; pods have names of their own."""
    state: Path = tmp_path_factory.mktemp("cluster")
    with running(state) as started:
        yield started


@pytest.fixture
async def api(cluster: Running) -> AsyncIterator[Api]:
    headers = {"Authorization": f"Bearer {cluster.token}"}
    async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
        yield Api(session)


async def _shared(api: Api, name: str, image: str) -> str:
    await api.call("POST", "pods", pod(name, image=image))
    await api.wait(name, is_ready)
    return name


@pytest.fixture
async def full(api: Api) -> str:
    """The name of a ready pod of kgpu-pytorch that tests share."""
    return await _shared(api, "shared-full", "kgpu-pytorch:latest")


@pytest.fixture
async def bare(api: Api) -> str:
    """The name of a ready pod of bare that tests share."""
    return await _shared(api, "shared-bare", "bare:latest")
