"""Commands that nobody could be asked to end: their pods are asked until they answer."""

import asyncio
from pathlib import Path

from gateway.executor import Executor
from kgpud.orphans import Orphans
from store.db import Database
from tests.gateway.fake_api import Call, serving
from tests.manual_clock import ManualClock
from tests.platform.world import until

NAME, POD = "0123456789abcdef", "gpu-rent-1-abcdef"


async def test_what_a_session_left_is_ended_once_its_pod_can_be_reached(tmp_path: Path) -> None:
    words, reachable = [b"", b"ended", *[b"gone"] * 3], False

    async def script(call: Call) -> None:
        if word := words.pop(0):
            call.hung_up(word)

    async with (
        Database.open(tmp_path / "kgpud.sqlite3") as db,
        serving(script) as api,
        asyncio.TaskGroup() as tasks,
        asyncio.timeout(20),
    ):
        clock = ManualClock()
        executor = Executor(api, beside_seconds=0.2)
        orphans = Orphans(db, clock, executor, "kgpu", fresh=lambda: reachable)
        task = tasks.create_task(orphans.run())
        orphans.left(NAME, POD)
        await until(lambda: clock.sleeping == 1)
        assert api.calls == []
        reachable = True
        for asked in 1, 3:  # it does not answer the first time
            clock.advance(5)
            await until(lambda asked=asked: len(api.calls) >= asked)  # type: ignore[misc]
            if asked == 1:
                await until(lambda: clock.sleeping == 1)
        end, begin, mode, _ = api.calls[0].command[4:]
        assert (begin + end, mode) == (NAME, "lost")
        await until(lambda: not orphans._left)
        orphans.look()
        await asyncio.sleep(0.01)
        assert clock.sleeping == 0
        task.cancel()
