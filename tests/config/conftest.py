"""Commands on a real store, each in this process."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from kgpud.cli import main
from store.db import Database

from .commands import Kgpud


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    async def make() -> None:
        async with Database.open(tmp_path / "kgpud.sqlite3"):
            pass

    asyncio.run(make())
    return tmp_path


@pytest.fixture
def kgpud(state: Path) -> Kgpud:
    def call(*words: str, ok: bool = True) -> Result:
        result = CliRunner().invoke(main, [*words, "--state", str(state)])
        if ok:
            assert result.exit_code == 0, result.output
        else:
            assert result.exit_code in (1, 2)
            assert isinstance(result.exception, SystemExit)
            assert "Traceback" not in result.output
        return result

    return call
