"""What several of the gateway's tests share."""

from pathlib import Path

import pytest

from .shells import SHELLS, Shell, found


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return found(request.param, tmp_path)
