"""Accepting connections: a few at a time, and the unwanted dropped before anything is built."""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from gateway.admission import Admission, Refusal, Visit

log = structlog.get_logger()

# asyncio's own servers take a whole backlog in one turn of the loop, while sessions wait.
_AT_ONCE = 8
_TALLY_SECONDS = 10.0
_REST_SECONDS = 1.0


class Listener:
    """Accepts on a bound socket, which it owns, from `open` until `close`.

    Whoever is let in is handed on as a task of `tasks`; the others are counted, and told of in
    the log now and then.
    """

    def __init__(
        self,
        sock: socket.socket,
        admission: Admission,
        serve: Callable[[socket.socket, Visit], Awaitable[None]],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._sock = sock
        self._admission = admission
        self._serve = serve
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._dropped: Counter[Refusal] = Counter()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def open(self) -> None:
        """Begin to accept, or begin again."""
        self._sock.setblocking(False)
        self._loop.add_reader(self._sock, self._accept_some)

    def pause(self) -> None:
        """Let who comes now queue in the kernel, until `open` or for another process to accept."""
        for timer in self._timers.values():
            timer.cancel()
        self._tell()
        self._timers.clear()
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)

    def close(self) -> None:
        """Accept nothing any more. Closing it again does nothing."""
        self.pause()
        self._sock.close()

    def _accept_some(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors or memory, mostly: what is closed elsewhere mends it.
                log.error("ssh.accept_failed", error=error.strerror)  # noqa: TRY400
                self._rest()
                return
            self._take(connection, address)

    def _take(self, connection: socket.socket, address: object) -> None:
        host = str(address[0]) if isinstance(address, tuple) else ""
        visit = self._admission.arrive(host)
        if isinstance(visit, Refusal):
            connection.close()
            self._dropped[visit] += 1
            if "tally" not in self._timers:
                self._timers["tally"] = self._loop.call_later(_TALLY_SECONDS, self._tell)
            return
        connection.setblocking(False)
        self._tasks.create_task(self._hand_on(connection, visit))

    async def _hand_on(self, connection: socket.socket, visit: Visit) -> None:
        try:
            if not visit.displaced:
                await self._serve(connection, visit)
                return
        except OSError:
            # It left between two steps.
            pass
        connection.close()
        self._admission.leave(visit)

    def _rest(self) -> None:
        self._loop.remove_reader(self._sock)
        self._timers["rest"] = self._loop.call_later(_REST_SECONDS, self.open)

    def _tell(self) -> None:
        self._timers.pop("tally", None)
        dropped, self._dropped = self._dropped, Counter()
        if dropped:
            log.warning("ssh.dropped", **{reason.value: n for reason, n in dropped.items()})
