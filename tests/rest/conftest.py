"""The real API on a real SQLite file and the real local cluster."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from .maintainer import Maintainer
from .platform import Platform


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    state = tmp_path_factory.mktemp("local-cluster")
    command = [
        sys.executable,
        "-m",
        "kgpud.localcluster",
        "--state",
        str(state),
        "--die-with-stdin",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        yield Path(ready["kubeconfig"])
        process.stdin.close()
        assert process.wait(timeout=20) == 0


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
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


@pytest.fixture
async def platform(kubeconfig: Path, tmp_path: Path) -> AsyncIterator[Platform]:
    async with Platform.on(kubeconfig, tmp_path) as made:
        yield made


@pytest.fixture
async def maintainer(platform: Platform) -> Maintainer:
    user = await platform.user(email="grace@example.org")
    await platform.accounts.change(user.account_id, "test", role="maintainer")
    return Maintainer(platform, user)
