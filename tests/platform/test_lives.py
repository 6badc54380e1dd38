"""Every bill is what an oracle makes of the pods' own times, whatever happened in any order."""

from pathlib import Path

import pytest

from tests.manual_clock import ManualClock
from tests.platform.lives import Lives


async def live(folder: Path, seed: int, steps: int) -> int:
    folder.mkdir()
    (folder / "kubeconfig").write_text("{}")
    lives = Lives(folder, ManualClock(), seed)
    try:
        await lives.begin()
        for number in range(steps):
            await lives.step()
            if number % 10 == 9:
                await lives.agree()
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        await lives.close()
    return len(lives.oracle.bills)


async def test_a_thousand_lives(memory_path: Path) -> None:
    assert sum([await live(memory_path / str(seed), seed, 130) for seed in range(6)]) > 1000


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_a_hundred_thousand_lives(memory_path: Path) -> None:
    seeds = range(1000, 1500)
    assert sum([await live(memory_path / str(seed), seed, 150) for seed in seeds]) > 100_000
