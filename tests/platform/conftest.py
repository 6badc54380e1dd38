from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi, node, serve
from tests.platform.world import World, platform, running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def api(tmp_path: Path, clock: ManualClock) -> AsyncIterator[FakeApi]:
    fake = FakeApi(clock)
    fake.apply("nodes", "ADDED", node("n1", "rtx4090", 4))
    fake.apply("nodes", "ADDED", node("n2", "v100", 8))
    async with serve(fake, tmp_path / "kubeconfig"):
        yield fake


@pytest.fixture
async def still(tmp_path: Path, api: FakeApi, clock: ManualClock) -> AsyncIterator[World]:
    """A platform that nothing runs in yet."""
    assert api is not None
    async with platform(tmp_path, tmp_path / "kubeconfig", clock) as world:
        yield world


@pytest.fixture
async def world(still: World) -> AsyncIterator[World]:
    """A platform that follows the fake cluster."""
    async with running(still):
        yield still


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder without a disk, for tests that commit thousands of times."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)
