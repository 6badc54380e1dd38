"""Rent, time, crash, restart, release, top-up, eviction and cluster loss, in any order."""

from pathlib import Path

import pytest

from tests.platform.model import Model
from tests.platform.model_house import House


async def live(folder: Path, seed: int, steps: int) -> None:
    folder.mkdir()
    house = House(folder)
    model = Model(house, seed)
    try:
        await model.begin()
        for _ in range(steps):
            await model.step()
    except BaseException as error:
        error.add_note(f"seed {seed}: {' '.join(model.done)}")
        raise
    finally:
        await house.close()


async def test_whatever_comes_in_whatever_order(memory_path: Path) -> None:
    for seed in range(5):
        await live(memory_path / str(seed), seed, 40)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_whatever_comes_for_long(memory_path: Path) -> None:
    for seed in range(1000, 1150):
        await live(memory_path / str(seed), seed, 200)
