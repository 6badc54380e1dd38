"""Our server and OpenSSH's, each serving a folder of its own."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .client import Client
from .local import SHELLS, openssh, ours


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder that our server serves."""
    (tmp_path / "ours").mkdir()
    return tmp_path / "ours"


@pytest.fixture
def client(shell: str, tmp_path: Path, here: Path) -> Iterator[Client]:
    """A client of ours."""
    with ours(shell, tmp_path, here) as sock, closing(Client(sock)) as client:
        yield client


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder that OpenSSH's server serves."""
    (tmp_path / "theirs").mkdir()
    return tmp_path / "theirs"


@pytest.fixture
def other(there: Path) -> Iterator[Client]:
    """A client of OpenSSH's server."""
    with openssh(there) as sock, closing(Client(sock)) as client:
        yield client
