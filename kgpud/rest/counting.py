"""Counts requests by route, for whoever watches the daemon."""

import time

from aiohttp import web
from aiohttp.typedefs import Middleware

from kgpud.metrics import Counters
from kgpud.rest.serving import Handler

# Callers may name any method, and each would be a series for ever.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def counting(counters: Counters) -> Middleware:
    """Return what counts each request and its time."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun, status = time.monotonic(), 0
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            resource = request.match_info.route.resource
            method = request.method if request.method in _METHODS else "other"
            route = resource.canonical if resource else "none"
            counters.request(method, route, status, time.monotonic() - begun)

    return count
