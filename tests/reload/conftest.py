import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.serve import write_config

from .house import House, standing


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    state = tmp_path_factory.mktemp("cluster") / "state"
    argv = [sys.executable, "-m", "kgpud", "local-cluster", "--state", str(state)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        yield Path(json.loads(process.stdout.readline())["kubeconfig"])
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture
def config(tmp_path: Path, kubeconfig: Path) -> Path:
    return write_config(tmp_path, kubeconfig, drain=60)


@pytest.fixture
def house(config: Path) -> Iterator[House]:
    with standing(config) as house:
        yield house
