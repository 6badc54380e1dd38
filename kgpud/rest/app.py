"""From the route table and the services to an aiohttp application."""

import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib import metadata

from aiohttp import web

from kgpud.rest import docs, openapi, serving, steady, transit
from kgpud.rest.answering import answering
from kgpud.rest.call import Services
from kgpud.rest.encoding import EXECUTOR_SIZE, compress
from kgpud.rest.limits import Rates
from kgpud.rest.peers import Peers
from kgpud.rest.route import Route
from kgpud.rest.routes import ROUTES
from kgpud.rest.server import AROUND, IDLE_SECONDS
from kgpud.rest.serving import Handler

__all__ = ["Services", "build"]


def build(services: Services, routes: Sequence[Route] = ROUTES) -> web.Application:
    """Return the API as an application, to be served by `kgpud.rest.server.Runner`."""
    peers = Peers(services.http.trusted_proxies)
    addresses = Rates(services.http.address_calls_per_minute)
    accounts = Rates(services.http.account_calls_per_minute)
    app = web.Application()
    app[AROUND] = answering(peers, addresses, services.metrics.counters)
    app[IDLE_SECONDS] = services.http.idle_seconds
    description = openapi.describe(
        routes, api_base=services.api_base, version=metadata.version("kgpud")
    )
    for path in ("/openapi.json", "/v1/openapi.json"):
        app.router.add_get(path, _constant(json.dumps(description).encode()))
    docs.add_routes(app, services.api_base)
    kept = steady.kept(services)
    for route in routes:
        # What can be read answers HEAD, too.
        reads, router = route.method == "GET", app.router
        add = router.add_get if reads else partial(router.add_route, route.method)
        add(route.path, serving.handler(route, services, accounts, kept), expect_handler=_expect)
    if services.transit is not None and services.transit.folder is not None:
        transit.add_routes(app, services.transit.folder, services.transit.admission, _expect)
    app.on_shutdown.append(_closer(services))
    return app


def _constant(document: bytes) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        response = web.Response(
            body=document,
            content_type="application/json",
            headers=serving.PUBLIC,
            zlib_executor_size=EXECUTOR_SIZE,
        )
        compress(request, response)
        return response

    return serve


def _closer(services: Services) -> Callable[[web.Application], Awaitable[None]]:
    async def close(_app: web.Application) -> None:
        """Let go of those who wait for something to happen: nobody stops while they do."""
        services.rentals.changes.close()

    return close


async def _expect(_request: web.Request) -> None:
    """Leave `100 Continue` to whoever reads the body."""
