"""What is remembered, and that it is never out of date."""

import asyncio

from kgpud.memo import Memo


class World:
    """Something that changes, and a look at it that can be made to take long."""

    def __init__(self) -> None:
        self.state: int | None = 1
        self.looks = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def look(self) -> str:
        self.looks += 1
        seen = f"as of {self.state}"
        await self.go_on.wait()
        return seen


async def test_nothing_is_looked_up_twice_until_something_changes() -> None:
    world = World()
    memo: Memo[str] = Memo(lambda: world.state, 10)
    assert [await memo.find("a", world.look) for _ in range(3)] == ["as of 1"] * 3
    assert world.looks == 1
    world.state = 2
    assert await memo.find("a", world.look) == "as of 2"
    world.state = 1
    assert await memo.find("a", world.look) == "as of 1"
    assert world.looks == 3


async def test_what_changes_meanwhile_is_not_remembered() -> None:
    world = World()
    memo: Memo[str] = Memo(lambda: world.state, 10)
    world.go_on.clear()
    async with asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(memo.find("a", world.look))
        await asyncio.sleep(0)
        world.state = 2
        world.go_on.set()
    assert slow.result() == "as of 1"
    assert await memo.find("a", world.look) == "as of 2"


async def test_a_state_that_cannot_be_told_remembers_nothing() -> None:
    world = World()
    world.state = None
    memo: Memo[str] = Memo(lambda: world.state, 10)
    for _ in range(3):
        await memo.find("a", world.look)
    assert world.looks == 3


async def test_memory_is_bounded() -> None:
    world = World()
    memo: Memo[str] = Memo(lambda: world.state, 2)
    for key in "abca":
        await memo.find(key, world.look)
    assert world.looks == 4
