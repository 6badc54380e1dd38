"""The daemon that `kgpud serve` runs: until it is stopped, or a successor has taken over.

A reload goes: a successor is started and says that it could serve; our core ends, the sessions
wait; the successor opens the store and serves; our sessions ask its core from then on, and we end
with the last of them. A successor that doesn't come up leaves us where we were.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from kgpud import daemon, reloading
from kgpud.clock import Clock
from kgpud.config import Config
from kgpud.daemon import Front, Running
from kgpud.handover import heir as heirs
from kgpud.handover.heir import Estate, HandoverFailed, Heir
from kgpud.handover.inherited import Inherited, Listening
from kgpud.handover.remote import RemoteCore
from kgpud.handover.wire import WireClosed
from kgpud.notify import notify
from kgpud.signals import Stop
from kgpud.statefolder import Lock

log = structlog.get_logger()

# How long an elder waits for clients that stay connected without a session.
_LINGER_SECONDS = 60.0


@dataclass(frozen=True)
class Holdings:
    """What one daemon at a time has, and hands on."""

    http: Listening
    ssh: Listening
    lock: Lock


class Daemon:
    """One process's time as the daemon. `ready` is called when it begins to serve."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        held: Holdings,
        inherited: Inherited | None,
        stop: Stop,
        reload_asked: asyncio.Event,
        ready: Callable[[Running], None],
    ) -> None:
        self._config = config
        self._clock = clock
        self._held = held
        self._inherited = inherited
        self._stop = stop
        self._ready = ready
        self._drain_seconds: float = config.drain.seconds
        self._failure: HandoverFailed | None = None
        self._reload_asked = reload_asked

    async def run(self) -> None:
        """Serve until told to stop, or until the last session has ended after a reload.

        Raises WireClosed if the elder that started us is gone before we may begin.
        """
        held = self._held
        if self._inherited:
            await self._inherited.wait_for_go()
        wires = self._inherited.wires if self._inherited else []
        with contextlib.closing(held.http.sock):
            async with daemon.front(self._config, held.ssh.sock, wires) as front:
                while (heir := await self._reign(front)) is not None:
                    async with heir.core(front.bastion, self._told_to_stop) as core:
                        try:
                            await heir.take_over(core)
                        except HandoverFailed as error:
                            self._failure = error
                        else:
                            await self._step_back(front, heir, core)
                            return

    async def _reign(self, front: Front) -> Heir | None:
        """Be the core until an heir is to be it, or until told to stop: then return None."""
        sockets = daemon.Sockets(self._held.http.sock, self._held.ssh.sock)
        async with daemon.core(self._config, sockets, self._clock, front) as running:
            self._held.lock.sign()
            await self._tell_ready(running)
            heir = await self._until_heir(front, running)
            if heir is None:
                notify("STOPPING=1")
                await front.drain(self._drain_seconds, self._stop.hurry)
        return heir

    async def _tell_ready(self, running: Running) -> None:
        """Tell whoever waits for it that we serve: for the first time, or again."""
        if self._failure:
            self._go_on(self._failure)
            return
        self._ready(running)
        if self._inherited is None:
            notify("READY=1")
            return
        try:
            # It tells systemd, which listens to the main process alone.
            await self._inherited.serving()
        except WireClosed:
            log.warning("handover.elder_died")
            # Whoever asked for us still waits for its answer.
            self._answer(pid=os.getpid())

    async def _until_heir(self, front: Front, running: Running) -> Heir | None:
        """Return a successor that could take over, once one was asked for; None to stop."""
        while True:
            await _any(self._stop.asked, self._reload_asked)
            if self._stop.asked.is_set():
                return None
            log.info("handover.begins")
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            running.http.keep_alive(keeps=False)
            heir = await self._start_heir(front)
            if not isinstance(heir, HandoverFailed):
                return heir
            running.http.keep_alive(keeps=True)
            self._go_on(heir)

    async def _start_heir(self, front: Front) -> Heir | HandoverFailed | None:
        """Start a successor; None if told to stop meanwhile."""
        held = self._held
        estate = Estate(
            self._config.state, held.http, held.ssh, held.lock.fileno(), front.elders.filenos()
        )
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(_start(estate))
            stopped = group.create_task(self._stop.asked.wait())
            await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
            starting.cancel()
            stopped.cancel()
        return None if starting.cancelled() else starting.result()

    def _go_on(self, failure: HandoverFailed) -> None:
        """Tell whoever waits for it that there is no successor, and that we serve."""
        self._failure = None
        self._reload_asked.clear()
        log.error("handover.failed", reason=str(failure))
        self._answer(error=f"the new daemon did not come up, the old one goes on: {failure}")
        notify("READY=1")

    async def _step_back(self, front: Front, heir: Heir, core: RemoteCore) -> None:
        """Keep only our sessions, until the last of them has ended."""
        front.core.use(core)
        self._held.lock.close()
        self._held.http.sock.close()
        front.listener.close()
        front.elders.close()
        notify(f"MAINPID={heir.pid}\nREADY=1")
        self._answer(pid=heir.pid)
        log.info(
            "handover.done", successor=heir.pid, sessions_kept=len(front.bastion.open_sessions())
        )
        if self._stop.asked.is_set():
            # It came in between, for the daemon: that is the successor now.
            heir.signal(signal.SIGTERM)
        await self._until_deserted(front, core)
        if core.lost.is_set():
            log.error("handover.successor_lost")
            self._drain_seconds = 0
        await front.bastion.drain(self._drain_seconds, self._stop.hurry)
        log.info("handover.deserted")

    async def _until_deserted(self, front: Front, core: RemoteCore) -> None:
        """Return once there is nothing to keep, or no reason."""
        async with asyncio.TaskGroup() as group:
            ends = [
                group.create_task(front.deserted(_LINGER_SECONDS)),
                group.create_task(_any(self._stop.asked, core.lost)),
            ]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()

    def _told_to_stop(self, seconds: float) -> None:
        self._drain_seconds = seconds
        # Not a second signal, where a first one came in the middle of the handover.
        self._stop.asked.set()
        if seconds <= 0:
            self._stop.hurry.set()

    def _answer(self, *, error: str | None = None, pid: int | None = None) -> None:
        try:
            reloading.answer(self._config.state, error=error, pid=pid)
        except OSError as failed:
            log.error("handover.answer_unwritten", error=failed.strerror)  # noqa: TRY400


async def _start(estate: Estate) -> Heir | HandoverFailed:
    try:
        return await heirs.start(_command(), estate)
    except HandoverFailed as error:
        return error


def _command() -> Sequence[str]:
    """Return what starts this program again, as it stands on the disk now."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return [sys.executable, "-m", "kgpud", *sys.argv[1:]]
    # A script's own first line says which Python it wants, which may be a new one by now.
    return sys.argv


async def _any(*events: asyncio.Event) -> None:
    """Return once one of the events is set."""
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
