"""One store after another: the folder, SeaweedFS, rclone's S3 server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from kgpud.object_settings import Folder, Objects
from kgpud.objects.s3_client import S3Client
from tests.objects.servers import Server, rclone, seaweedfs
from tests.objects.world import World, small, world


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """Print one JSON line an event, as the daemon does: pretty tracebacks take seconds."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        asyncio.run(_make_bucket(server))
        yield server


@pytest.fixture(scope="session", params=["folder", "seaweedfs", "rclone"])
def settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Objects]:
    """Yield settings of a store. In a bucket, every state folder has a corner of its own."""
    if request.param == "folder":
        yield Objects(folder=Folder(min_free_gb=0))
    elif request.param == "seaweedfs":
        yield Objects(store="s3", s3=request.getfixturevalue("seaweed").settings)
    else:
        with rclone(tmp_path_factory.mktemp("rclone")) as server:
            yield Objects(store="s3", s3=server.settings)


@pytest.fixture
async def here(tmp_path: Path, settings: Objects) -> AsyncIterator[World]:
    """Objects on the store, with parts of 5 MiB."""
    async with world(tmp_path, small(settings)) as made:
        yield made


async def _make_bucket(server: Server) -> None:
    async with S3Client.open(server.settings) as client:
        await client.call("create_bucket")
