from collections.abc import Iterator
from pathlib import Path

import pytest

from kgpud.catalog_settings import GpuClass
from kgpud.cluster_settings import Kubernetes
from kgpud.config import Address, Config
from kgpud.http_settings import Http
from tests.e2e.serve import free_port

from .installing import Installed, installed


@pytest.fixture(scope="package")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """One prepared cluster for all tests that leave it as they found it."""
    with installed(tmp_path_factory.mktemp("operator")) as started:
        yield started


@pytest.fixture
def patient_config(prepared: Installed, tmp_path: Path) -> Config:
    """An installation that has one class and has never run."""
    state = tmp_path / "state"
    return Config(
        state=state,
        http=Http(Address("127.0.0.1", free_port())),
        cluster=Kubernetes(prepared.kubeconfig),
        gpu={"v100": GpuClass(600, "Tesla V100", (), "7.0")},
    )
