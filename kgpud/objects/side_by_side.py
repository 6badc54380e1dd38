"""Doing the same to many things, some of them at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

_AT_ONCE = 8


async def side_by_side(work: Callable[[T], Awaitable[object]], items: Iterable[T]) -> None:
    """Return once all are done. The first failure cancels the others and is raised alone.

    What makes one of them fail, a store that is away or a full disk, makes all of them fail.
    """
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(item: T) -> None:
        async with limit:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(one(item))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
