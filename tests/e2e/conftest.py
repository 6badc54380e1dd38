from collections.abc import Iterator
from pathlib import Path

import pytest

from .dev import Dev, Pod, make_key, rent, running


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with running(tmp_path_factory.mktemp("e2e") / "state") as started:
        yield started
        assert started.stop() == 0


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("keys") / "key")


@pytest.fixture(scope="module")
def pod(dev: Dev, key: Path) -> Iterator[Pod]:
    rented = rent(dev, key)
    yield rented
    rented.release()


@pytest.fixture(scope="module")
def bare(dev: Dev, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    key = make_key(tmp_path_factory.mktemp("bare") / "key")
    rented = rent(dev, key, image="bare:latest", gpu_count=0)
    yield rented
    rented.release()
