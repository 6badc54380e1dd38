"""From the route table and the services to an aiohttp application."""

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import metadata
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from kgpud.errors import Code, UserError
from kgpud.rest import docs, openapi, problems, request_id, serving, transit
from kgpud.rest.call import Services
from kgpud.rest.counting import counting
from kgpud.rest.encoding import EXECUTOR_SIZE, compress
from kgpud.rest.limits import Rates
from kgpud.rest.peers import Peers, source
from kgpud.rest.reading import Unfit
from kgpud.rest.route import Route
from kgpud.rest.routes import ROUTES
from kgpud.rest.server import IDLE_SECONDS
from kgpud.rest.serving import Handler
from store.db import StoreUnavailable

__all__ = ["Services", "build"]

log = structlog.get_logger()

STORE_AWAY = UserError(
    Code.STORE_UNAVAILABLE, "the database can't be used just now; nothing was changed, try again"
)


def build(services: Services, routes: Sequence[Route] = ROUTES) -> web.Application:
    """Return the API as an application, to be served by `kgpud.rest.server.Runner`."""
    peers = Peers(services.http.trusted_proxies)
    addresses = Rates(services.http.address_calls_per_minute)
    accounts = Rates(services.http.account_calls_per_minute)
    app = web.Application(
        middlewares=[counting(services.metrics.counters), _admitting(peers, addresses)]
    )
    app[IDLE_SECONDS] = services.http.idle_seconds
    description = openapi.describe(
        routes, api_base=services.api_base, version=metadata.version("kgpud")
    )
    for path in ("/openapi.json", "/v1/openapi.json"):
        app.router.add_get(path, _constant(json.dumps(description).encode()))
    docs.add_routes(app, services.api_base)
    for route in routes:
        add = app.router.add_get if route.method == "GET" else _adder(app, route.method)
        add(route.path, serving.handler(route, services, accounts), expect_handler=_expect)
    if services.transit is not None and services.transit.folder is not None:
        transit.add_routes(app, services.transit.folder, services.transit.admission, _expect)
    app.on_response_prepare.append(_stamping(peers))
    app.on_shutdown.append(_closer(services))
    return app


def _constant(document: bytes) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        response = web.Response(
            body=document, content_type="application/json", zlib_executor_size=EXECUTOR_SIZE
        )
        serving.make_public(response)
        compress(request, response)
        return response

    return serve


def _adder(app: web.Application, method: str) -> Callable[..., Any]:
    def add(path: str, handler: Handler, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        app.router.add_route(method, path, handler, **options)

    return add


def _admitting(peers: Peers, addresses: Rates) -> Middleware:
    """Return what stands around every request: how often an address may call, and the rest."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        address = peers.address(request)

        async def admitted(request: web.Request) -> web.StreamResponse:
            caller = source(address)
            if caller is not None:
                addresses.take(caller)
            return await handler(request)

        trace = request_id.of(request)
        with structlog.contextvars.bound_contextvars(request_id=trace, peer=str(address)):
            return await _answer_everything(request, admitted, trace)

    return answer


async def _answer_everything(
    request: web.Request, handler: Handler, trace: str
) -> web.StreamResponse:
    """Give every outcome its shape, its id and its line in the log."""
    begun = time.monotonic()
    status = None
    try:
        response = await _outcome(request, handler, trace)
        status = response.status
        return response
    finally:
        log.info(
            "request",
            method=request.method,
            # Raw paths are the caller's words; the route's are ours.
            route=_template(request),
            # None: the client went, or the answer was broken off.
            status=status,
            ms=round((time.monotonic() - begun) * 1000, 1),
        )


async def _outcome(request: web.Request, handler: Handler, trace: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except Exception as error:
        if isinstance(error, ConnectionError) and request.transport is None:
            # The client has gone: there is nobody left to answer.
            raise
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


def _template(request: web.Request) -> str | None:
    resource = request.match_info.route.resource
    return resource.canonical if resource else None


def _stamping(peers: Peers) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def stamp(request: web.Request, response: web.StreamResponse) -> None:
        request_id.stamp(response, request_id.of(request))
        response.headers["X-Content-Type-Options"] = "nosniff"
        if peers.secure(request):
            response.headers["Strict-Transport-Security"] = "max-age=31536000"

    return stamp


def _closer(services: Services) -> Callable[[web.Application], Awaitable[None]]:
    async def close(_app: web.Application) -> None:
        """Let go of those who wait for something to happen: nobody stops while they do."""
        services.rentals.changes.close()

    return close


async def _expect(_request: web.Request) -> None:
    """Leave `100 Continue` to whoever reads the body."""
