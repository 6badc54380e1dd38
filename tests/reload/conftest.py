import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.serve import write_config

from .house import Cluster, House, standing


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    state = tmp_path_factory.mktemp("cluster") / "state"
    argv = [sys.executable, "-m", "kgpud", "local-cluster", "--state", str(state)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        kubeconfig = Path(json.loads(process.stdout.readline())["kubeconfig"])
        yield Cluster(process, kubeconfig)
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture
def kubeconfig(cluster: Cluster) -> Path:
    return cluster.kubeconfig


@pytest.fixture
def config(tmp_path: Path, kubeconfig: Path) -> Path:
    return write_config(tmp_path, kubeconfig, drain=60)


@pytest.fixture
def house(config: Path) -> Iterator[House]:
    with standing(config) as house:
        yield house
