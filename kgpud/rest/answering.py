"""What stands around every request: its id, how often an address may call, a shape for each end.

And its line in the log.
"""

import time
from collections.abc import Callable

import structlog
from aiohttp import web
from structlog.contextvars import bind_contextvars

from kgpud import logs
from kgpud.errors import Code, UserError
from kgpud.metrics import Counters
from kgpud.rest import problems, request_id
from kgpud.rest.limits import Rates
from kgpud.rest.peers import Peers
from kgpud.rest.reading import Unfit
from kgpud.rest.server import Handle
from store.db import StoreUnavailable

log = structlog.get_logger()

# Callers may name any method, and each would be counted for ever.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

STORE_AWAY = UserError(
    Code.STORE_UNAVAILABLE, "the database can't be used just now; nothing was changed, try again"
)


def answering(peers: Peers, addresses: Rates, counters: Counters) -> Callable[[Handle], Handle]:
    """Return what stands around all that an application handles.

    `addresses` holds them to their calls a minute, `counters` are for whoever watches us.
    """

    def around(handle: Handle) -> Handle:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            peer = peers.peer(request)
            trace = request_id.begin(request, secure=peers.secure(request))
            # Nothing unbinds them: aiohttp answers each request in a task, and context, of its own.
            bind_contextvars(request_id=trace, peer=peer.text)
            begun, response = time.monotonic(), None
            try:
                addresses.take(peer.source)
                response = await handle(request)
            except Exception as error:  # noqa: BLE001 - each is answered and logged, or raised
                response = _refusal(request, error, trace)
            finally:
                seconds, route = time.monotonic() - begun, _route(request)
                # 0: the client went, or the answer was broken off.
                status = 0 if response is None else response.status
                logs.request(trace, peer.text, request.method, route, status, seconds)
                method = request.method if request.method in _METHODS else "other"
                counters.request(method, route or "none", status, seconds)
            if not response.prepared:
                request_id.stamp(request, response)
            return response

        return answer

    return around


def _route(request: web.BaseRequest) -> str | None:
    """Return a request's path as the table has it: what was really asked for is others' words."""
    # None: turned away at the door.
    found = request._match_info if isinstance(request, web.Request) else None  # noqa: SLF001
    resource = found.route.resource if found is not None else None
    return None if resource is None else resource.canonical


def _refusal(request: web.BaseRequest, error: Exception, trace: str) -> web.StreamResponse:
    """Return the answer to an error; raise ConnectionError where nobody can get one."""
    if isinstance(error, ConnectionError) and request.transport is None:
        # The client has gone: there is nobody left to answer.
        raise error
    if request.writer.output_size > 0:
        # Half of an answer is out: only breaking off can tell that the rest is missing.
        _tell(error)
        raise ConnectionResetError("the answer was broken off") from error
    return _problem(error, trace)


def _tell(error: Exception) -> None:
    """Log why an answer was broken off: a token that was revoked meanwhile is no fault of ours."""
    if isinstance(error, UserError):
        log.info("answer_broken_off", code=str(error.code))
    else:
        log.error("answer_broken_off", exc_info=error)


def _problem(error: Exception, trace: str) -> web.StreamResponse:
    if isinstance(error, UserError):
        response = problems.of_user_error(error, trace)
        if response.status >= 500:  # noqa: PLR2004 - the first of them
            log.error("request_failed", code=str(error.code), exc_info=error)
        return response
    if isinstance(error, StoreUnavailable):
        log.error("store_unavailable", error=str(error))
        return problems.of_user_error(STORE_AWAY, trace)
    if isinstance(error, Unfit):
        return problems.of_validation(error.cause, trace)
    if isinstance(error, web.HTTPException):
        return problems.of_http(error, trace)
    log.error("request_failed", code=str(Code.INTERNAL), exc_info=error)
    return problems.internal(trace)
