"""The HTTP server under the application: what aiohttp answers by itself, answered in our shape."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from kgpud.errors import Code
from kgpud.rest import problems, request_id

log = structlog.get_logger()

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

#: What stands around all that an application handles, what it finds no route for included.
AROUND: web.AppKey[Callable[[Handle], Handle]] = web.AppKey("around")
#: How long an application's connections may take for a head, or be idle.
IDLE_SECONDS = web.AppKey("idle_seconds", float)

_TICK_SECONDS = 0.01
_CANCEL_SECONDS = 1.0
# Some connect for later, and say nothing for long.
_FIRST_WORD_SECONDS = 3.0


class _Connection(RequestHandler):
    """A connection whose requests may be no HTTP at all, and whose client may go meanwhile."""

    __slots__ = ("fresh", "lasts", "owed", "stops_when_gone", "streams")

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(*args, **options)
        self.stops_when_gone = False
        # Nothing came yet, but the first request must be on its way.
        self.fresh = True
        self.owed = False
        self.lasts = self.streams = False

    def data_received(self, data: bytes) -> None:
        """Owe an answer from a request's first byte on."""
        self.fresh, self.owed = False, True
        super().data_received(data)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; another one is owed where the client has asked again already."""
        if isinstance(self._manager, _Server) and not self._manager.keeps_alive:
            resp.force_close()
        sent = await super().finish_response(request, resp, start_time)
        self.owed = bool(self._messages)
        self.lasts = self.streams = self.stops_when_gone = False
        return sent

    async def end(self, seconds: float) -> None:
        """Cancel what is being answered, after as many seconds; close the connection."""
        if self.transport is not None:
            await self.shutdown(seconds)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop what waits for the client; the request that is being answered if it asked for it."""
        answering = self._current_request is not None
        # Without one, what is left of a refused body is being waited for, or nothing is.
        task = self._task_handler if self.stops_when_gone or not answering else None
        super().connection_lost(exc)
        if task is not None:
            task.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may quote the request
    ) -> web.StreamResponse:
        """Answer what never reached the application, or broke outside its middleware."""
        if isinstance(exc, ConnectionError):
            # Gone, or broken off in the middle of an answer: nobody is there for another one.
            raise exc
        trace = request_id.begin(request)
        if status < 500:  # noqa: PLR2004 - the first server error
            log.info("request_unreadable", request_id=trace, status=status)
            detail = "the request is not valid HTTP, or its head is too long"
            answer = problems.response(Code.BAD_REQUEST, detail, request_id=trace, status=status)
        else:
            log.error("request_failed", request_id=trace, status=status, exc_info=exc)
            answer = problems.internal(trace)
        request_id.stamp(request, answer)
        answer.force_close()
        return answer


def stop_when_gone(request: web.BaseRequest, *, stops: bool) -> None:
    """Say whether what answers this request is cancelled once its client has gone."""
    if isinstance(request.protocol, _Connection):
        request.protocol.stops_when_gone = stops


def let_last(request: web.BaseRequest) -> None:
    """Say that what answers this request needs no store from here on: it may outlive its core."""
    if isinstance(request.protocol, _Connection):
        request.protocol.lasts = True


def endless(request: web.BaseRequest) -> None:
    """Say that nobody should wait for the end of this answer: the client asks again."""
    if isinstance(request.protocol, _Connection):
        request.protocol.streams = True


class _Server(web.Server):
    idle_seconds: float = 75
    # Whether connections stay open after an answer.
    keeps_alive = True

    def __call__(self) -> RequestHandler:
        # The access log is the application's: one line a request, without secrets.
        quiet: Any = None
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=quiet,
            # Counted from the connection's first moment, or its last answer, to the next head.
            keepalive_timeout=self.idle_seconds,
            # Such bodies are refused; what is read of one to its end is not to be undone for that.
            auto_decompress=False,
            # Enough to let a refusal be read before the rest of its body is cut off.
            lingering_time=2.0,
        )


class Runner(web.AppRunner):
    """Serves the application; add a `web.TCPSite` to it as to any runner."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        handle = self.app[AROUND](made.request_handler)
        server = _Server(handle, request_factory=made.request_factory)
        server.idle_seconds = self.app[IDLE_SECONDS]
        return server

    def keep_alive(self, *, keeps: bool) -> None:
        """Say whether clients may ask again on their connection; without, few are open soon."""
        assert isinstance(self.server, _Server)
        self.server.keeps_alive = keeps

    @property
    def lasts(self) -> bool:
        """Whether a request is being answered that was let to last."""
        return any(connection.lasts for connection in self._connections())

    async def lasted(self) -> None:
        """Return once there is no such request."""
        await _until(lambda: not self.lasts)

    async def finish(self, seconds: float) -> None:
        """Accept nothing more, answer what was asked, and close; only what `lasts` goes on.

        What takes longer than `seconds` is cancelled. `cleanup` must follow, and ends the rest.
        """
        self._stop_accepting()
        await asyncio.sleep(_TICK_SECONDS)  # what was accepted in this turn
        for site in list(self.sites):
            await site.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_WORD_SECONDS):
                await _until(self._all_have_spoken)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _until(self._owes_nothing)
        assert self.server is not None
        self.server.pre_shutdown()
        async with asyncio.TaskGroup() as ends:
            for connection in self._connections():
                if not connection.lasts:
                    seconds = _TICK_SECONDS if connection.streams else _CANCEL_SECONDS
                    ends.create_task(connection.end(seconds))

    def _stop_accepting(self) -> None:
        """Leave whoever connects from now on in the queue, while the servers are still open.

        asyncio forgets a connection, open and unread, that it accepted in the turn in which its
        server is closed (`base_events.Server._attach`).
        """
        loop = asyncio.get_running_loop()
        for site in self.sites:
            server = site._server  # noqa: SLF001
            for sock in server.sockets if isinstance(server, asyncio.Server) else ():
                loop.remove_reader(sock.fileno())

    def _all_have_spoken(self) -> bool:
        return not any(connection.fresh for connection in self._connections())

    def _owes_nothing(self) -> bool:
        """Tell whether nobody waits for an answer that will come soon."""
        return not any(
            connection.owed and not connection.lasts and not connection.streams
            for connection in self._connections()
        )

    def _connections(self) -> Sequence[_Connection]:
        connections = self.server.connections if self.server is not None else ()
        return [one for one in connections if isinstance(one, _Connection)]


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - aiohttp tells nobody when it has sent an answer
        await asyncio.sleep(_TICK_SECONDS)
