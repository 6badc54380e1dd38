"""The REST API's commands in the pods: known while they run, so that none outlives its time limit.

Whoever started one ends it, and asks again where its pod can't be reached. If that daemon was
killed, the next one does.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog

from gateway.beside import Fate
from gateway.executor import Executor
from gateway.protocols import PodRef
from kgpud.clock import Clock
from kgpud.cluster.pods import CONTAINER
from store import commands
from store.db import Database, StoreUnavailable
from store.records import RunningCommand

log = structlog.get_logger()

T = TypeVar("T")

# Most are over by then, and leave no trace.
_GATHER_SECONDS = 0.25
_RETRY_SECONDS = 5.0
_AT_ONCE = 8


@dataclass
class Noted:
    """What a command is started with, and whether it may run on though it is given up."""

    executor: Executor
    runs_on: bool = False

    def left(self) -> None:
        """Take note that nobody could be asked to end it."""
        self.runs_on = True


class Commands:
    """Writes down what runs, behind its back. `run` must run meanwhile, `finish` comes last."""

    def __init__(self, db: Database, clock: Clock, executor: Executor, namespace: str) -> None:
        self._db = db
        self._clock = clock
        self._executor = executor
        self._namespace = namespace
        self._begun: dict[str, RunningCommand] = {}
        self._ended: set[str] = set()
        self._wanted = asyncio.Event()
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._tasks: asyncio.TaskGroup | None = None

    @contextmanager
    def noted(self, pod_id: str, seconds: int) -> Iterator[Noted]:
        """Yield what a command of so many seconds is to be started with in the block."""
        name = secrets.token_hex(8)
        noted = Noted(self._executor.of(name))
        self._begun[name] = RunningCommand(name, pod_id, seconds)
        self._wanted.set()
        try:
            yield noted
        finally:
            if noted.runs_on:
                self._keep_asking(RunningCommand(name, pod_id, 0))
            elif self._begun.pop(name, None) is None:
                self._ended.add(name)
                self._wanted.set()

    def _keep_asking(self, command: RunningCommand) -> None:
        if self._tasks:  # else its row is another daemon's business
            self._tasks.create_task(self._outlive(command))

    async def run(self) -> None:
        """End what a daemon before us left, and write what begins and ends. Never returns."""
        left = await self._patiently(self._every)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                for command in left:
                    self._keep_asking(command)
                await self._write()
            finally:
                self._tasks = None

    async def finish(self) -> None:
        """Write what is waiting, for the last time."""
        try:
            await self._flush()
        except StoreUnavailable as error:
            # The next daemon looks for what is over, and finds nothing.
            log.warning("commands.unsaved", error=str(error))

    async def _write(self) -> None:
        while True:
            await self._wanted.wait()
            await self._clock.sleep(_GATHER_SECONDS)
            await self._patiently(self._flush)

    async def _flush(self) -> None:
        """Write what is waiting. Raises StoreUnavailable; then it still waits."""
        self._wanted.clear()
        begun, self._begun = self._begun, {}
        ended, self._ended = self._ended, set()
        if not begun and not ended:
            return
        try:
            async with self._db.transaction() as tx:
                await commands.insert(tx, begun.values())
                await commands.delete(tx, ended)
        except StoreUnavailable:
            over = self._ended & begun.keys()
            self._begun |= {name: begun[name] for name in begun.keys() - over}
            self._ended = (self._ended - over) | ended
            raise

    async def _every(self) -> list[RunningCommand]:
        async with self._db.reading() as rx:
            return await commands.every(rx)

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await step()
            except StoreUnavailable as error:
                log.warning("commands.store_unavailable", error=str(error))
                await self._clock.sleep(_RETRY_SECONDS)

    async def _outlive(self, command: RunningCommand) -> None:
        """End one that is left: of before us when its daemon would, which may be alive yet."""
        await self._clock.sleep(command.seconds)
        while (fate := await self._hang_up(command)) is Fate.UNKNOWN:
            await self._clock.sleep(_RETRY_SECONDS)
        log.info("commands.outlived", pod_id=command.pod_id, fate=fate.name.lower())
        self._ended.add(command.name)
        self._wanted.set()

    async def _hang_up(self, command: RunningCommand) -> Fate:
        async with self._limit:
            pod = PodRef(self._namespace, command.pod_id, CONTAINER)
            return await self._executor.hang_up_lost(pod, command.name, spare=False)
