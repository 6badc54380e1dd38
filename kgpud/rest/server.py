"""The HTTP server under the application: what aiohttp answers by itself, answered in our shape."""

import asyncio
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from kgpud.errors import Code
from kgpud.rest import problems, request_id

log = structlog.get_logger()


class _Connection(RequestHandler):
    """A connection whose requests may be no HTTP at all, and whose client may go meanwhile."""

    __slots__ = ("stops_when_gone",)

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(*args, **options)
        self.stops_when_gone = False

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the request that is being answered, if it asked for that."""
        answering = self._current_request is not None
        task = self._task_handler if answering and self.stops_when_gone else None
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
        trace = request_id.of(request)
        if status < 500:  # noqa: PLR2004 - the first server error
            log.info("request_unreadable", request_id=trace, status=status)
            detail = "the request is not valid HTTP, or its head is too long"
            answer = problems.response(Code.BAD_REQUEST, detail, request_id=trace, status=status)
        else:
            log.error("request_failed", request_id=trace, status=status, exc_info=exc)
            answer = problems.internal(trace)
        request_id.stamp(answer, trace)
        answer.force_close()
        return answer


def stop_when_gone(request: web.BaseRequest, *, stops: bool) -> None:
    """Say whether what answers this request is cancelled once its client has gone."""
    if isinstance(request.protocol, _Connection):
        request.protocol.stops_when_gone = stops


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        # The access log is the application's: one line a request, without secrets.
        quiet: Any = None
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=quiet,
            # Enough to let a refusal be read before the rest of its body is cut off.
            lingering_time=2.0,
        )


class Runner(web.AppRunner):
    """Serves the application; add a `web.TCPSite` to it as to any runner."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory)
