from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.db import Database


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "kgpud.sqlite3") as database:
        yield database
