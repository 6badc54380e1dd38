"""The platform that the model drives: it can be killed at any turn of the loop and comes back."""

import asyncio
import sqlite3
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, closing
from pathlib import Path
from typing import Any

from kgpud.cluster.pods import derive
from store.db import Database
from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi, node, serve
from tests.platform.world import World, platform

_BOUND = 20.0
_PATIENCE = 20
_STORE, _COPY = "kgpud.sqlite3", "copy.sqlite3"
CAPACITY = {"rtx4090": 4, "v100": 8}


class House:
    """A cluster and a clock that stay, and a daemon's services that come and go."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.api = FakeApi(self.clock)
        self.world: World | None = None
        self._folder = folder
        self._stack = AsyncExitStack()
        self._life: asyncio.Task[None] | None = None
        self._dies = asyncio.Event()

    @property
    def passed(self) -> int:
        """The milliseconds that passed, however the clock was set."""
        return self.clock.moment().passed

    @property
    def sees(self) -> bool:
        """Whether services run and see the cluster."""
        return self.world is not None and self.world.view.connected

    async def open(self) -> None:
        """Start the cluster, then the services."""
        for number, (model, gpus) in enumerate(CAPACITY.items()):
            self.api.apply("nodes", "ADDED", node(f"n{number}", model, gpus))
        await self._stack.enter_async_context(serve(self.api, self._folder / "kubeconfig"))
        await self.boot()

    async def close(self) -> None:
        """End all of it."""
        await self.crash()
        await self._stack.aclose()

    async def boot(self) -> None:
        """Start the services on what the last ones left."""
        up: asyncio.Future[World] = asyncio.get_running_loop().create_future()
        self._dies = asyncio.Event()
        self._life = asyncio.get_running_loop().create_task(self._live(up))
        either: list[asyncio.Future[Any]] = [up, self._life]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            self._life.result()
        self.world = up.result()
        await self.settle()

    async def crash(self) -> None:
        """Drop the services in the middle of whatever they do; nothing is flushed."""
        self.world = None
        if self._life is not None:
            self._dies.set()
            await asyncio.wait([self._life], timeout=_BOUND)
            self._life.result()
            self._life = None

    def back_up(self) -> None:
        """Keep a copy of the store as it is."""
        with _opened(self._folder / _STORE) as store, _opened(self._folder / _COPY) as copy:
            store.backup(copy)

    def restore(self) -> None:
        """Put the copy in the store's place, while no services run."""
        with _opened(self._folder / _STORE) as store, _opened(self._folder / _COPY) as copy:
            copy.backup(store)

    def elsewhere(self) -> AbstractAsyncContextManager[Database]:
        """Open the store as another process does."""
        return Database.open(self._folder / _STORE)

    async def crash_amid(self, work: Coroutine[Any, Any, Any], turns: int) -> None:
        """Begin some work, and crash after so many turns of the event loop."""
        task = asyncio.get_running_loop().create_task(work)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=_BOUND)
        await self.crash()
        if not task.cancelled():
            # What it was refused is its own affair.
            task.exception()

    async def settle(self) -> None:
        """Let time pass until the services have seen all that the cluster has to show."""
        patience = _PATIENCE
        async with asyncio.timeout(_BOUND):
            while self.world is not None and not self._agrees(self.world):
                # An open watch is told by the real network, in no time by our clock.
                patience -= 1
                self.clock.advance(1 if patience < 0 and self.clock.sleeping else 0)
                await asyncio.sleep(0.001)

    def _agrees(self, world: World) -> bool:
        if self.api.down:
            return not world.view.connected
        pods = {name: derive(pod) for name, pod in self.api.pods.items()}
        return world.view.connected and dict(world.view.pods) == pods

    async def _live(self, up: "asyncio.Future[World]") -> None:
        async with platform(self._folder, self._folder / "kubeconfig", self.clock) as world:
            loops = asyncio.get_running_loop().create_task(world.reconcile.run())
            up.set_result(world)
            dying = asyncio.get_running_loop().create_task(self._dies.wait())
            await asyncio.wait([loops, dying], return_when=asyncio.FIRST_COMPLETED)
            if loops.done():
                dying.cancel()
                loops.result()
            loops.cancel()
            await asyncio.wait([loops], timeout=_BOUND)


def _opened(path: Path) -> AbstractContextManager[sqlite3.Connection]:
    return closing(sqlite3.connect(path))
