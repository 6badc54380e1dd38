import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .dev import Dev, Pod, make_key, rent, running
from .serve import write_config


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


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    argv = [sys.executable, "-m", "kgpud", "local-cluster", "--state", str(tmp_path / "cluster")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        yield Path(json.loads(process.stdout.readline())["kubeconfig"])
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture
def config(tmp_path: Path, kubeconfig: Path) -> Path:
    return write_config(tmp_path, kubeconfig)
