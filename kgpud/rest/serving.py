"""One request to one route: who calls, what was sent, the handler, its answer."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import aclosing, nullcontext
from functools import partial
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter

from kgpud.memo import Memo
from kgpud.rest import reading, request_id
from kgpud.rest.auth import Access, authorize, bearer, while_admitted
from kgpud.rest.call import Call, Services
from kgpud.rest.encoding import EXECUTOR_SIZE, compress
from kgpud.rest.limits import Rates
from kgpud.rest.route import Complete, Route
from kgpud.rest.server import endless, let_last, stop_when_gone
from kgpud.rest.shapes.base import Answer
from kgpud.rest.shapes.pages import Page
from kgpud.rest.shapes.streams import Stream
from kgpud.tokens import Caller

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Any page may read the answer, and caches keep it as long as they ask again each time.
PUBLIC = {
    "Cache-Control": "no-cache",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "X-Request-ID, Retry-After",
}
# Whoever else is served meanwhile waits for no more of a long list.
_LINES_A_TURN = 100
_PRIVATE = {"Cache-Control": "no-store"}


def handler(route: Route, services: Services, rates: Rates, steady: Memo[bytes]) -> Handler:
    """Return what serves a route's requests. It raises UserError and `reading.Unfit`.

    `rates` counts the calls of each account, and of each pod; `steady` keeps answers.
    """

    async def serve(request: web.Request) -> web.StreamResponse:
        caller = await _admitted(route, services, request)
        rates.take(_counted(caller))
        if route.steady and not request.query_string:
            who = caller.account.account_id if caller is not None else ""
            key = (route.path, who, *reading.path(request).values())
            make = partial(_body, route, services, request, caller)
            body = await steady.find(key, make)
            return _response(request, route, body)
        stop_when_gone(request, stops=route.long or route.method == "GET")
        call = await _call(route, services, request, caller)
        if not route.long:
            return await _answer(request, route, call)
        async with while_admitted(call.admit, services.clock):
            return await _answer(request, route, call)

    return serve


async def _admitted(route: Route, services: Services, request: web.Request) -> Caller | None:
    if route.access is Access.PUBLIC:
        return None
    caller = await services.tokens.authenticate(bearer(request))
    authorize(route.access, caller, request.match_info.get("pod_id"))
    return caller


def _counted(caller: Caller | None) -> str | None:
    return None if caller is None else caller.counted


async def _call(
    route: Route,
    services: Services,
    request: web.Request,
    caller: Caller | None,
) -> Call[Any, Any]:
    admit = partial(_admitted, route, services, request)
    path, query = reading.path(request), reading.query(request, route)
    headers = reading.headers(request, route)
    slow = not request.content.is_eof()
    body = None
    if route.body is not None:
        turn = services.bodies.held(_counted(caller)) if slow else reading.AT_ONCE
        body = await reading.body(request, route.body, services.http.body_seconds, turn)
    return Call(
        services=services,
        # A body may have taken its time, and the token may be gone by now.
        caller=await admit() if slow and body is not None else caller,
        path=path,
        query=query,
        headers=headers,
        body=body,
        lasts=partial(let_last, request),
        admit=admit,
        operation=f"{route.method} {route.path}",
    )


async def _answer(request: web.Request, route: Route, call: Call[Any, Any]) -> web.StreamResponse:
    # What is always a stream, as a log, is a connection to the cluster before it is an answer.
    with call.lasting() if route.streams else nullcontext():
        answer = await route.handler(call)
        if isinstance(answer, Stream):
            with nullcontext() if route.streams else call.lasting():
                return await send(request, answer)
    response = _response(request, route, await _json(answer))
    if isinstance(answer, Page) and answer.rest is not None:
        url = _next(request, answer.rest, call.services)
        response.headers["Link"] = f'<{url}>; rel="next"'
    return response


async def _body(
    route: Route,
    services: Services,
    request: web.Request,
    caller: Caller | None,
) -> bytes:
    """Work out the body of a steady route's answer."""
    answer = await route.handler(await _call(route, services, request, caller))
    assert not isinstance(answer, Stream)
    return await _json(answer)


def _response(request: web.Request, route: Route, body: bytes) -> web.Response:
    response = web.Response(
        body=body,
        content_type="application/json",
        headers=PUBLIC if route.access is Access.PUBLIC else _PRIVATE,
        zlib_executor_size=EXECUTOR_SIZE,
    )
    # A private key or a token is in the answer to a POST or PATCH alone.
    if route.method == "GET" or route.long:
        compress(request, response)
    return response


async def _json(answer: Complete) -> bytes:
    if isinstance(answer, Answer):
        return _one(answer)
    lines = answer.lines if isinstance(answer, Page) else answer
    written = []
    for number, line in enumerate(lines, 1):
        written.append(_one(line))
        if number % _LINES_A_TURN == 0:
            await asyncio.sleep(0)
    return b"[" + b",".join(written) + b"]"


def _one(answer: Answer) -> bytes:
    # What has a default is to be absent, rather than null, where it was not set.
    return _adapter(type(answer)).dump_json(answer, exclude_unset=True)


@functools.cache
def _adapter(model: type[Answer]) -> TypeAdapter[Answer]:
    # A model's own `model_dump_json` makes a text of it first: five times the work for a long one.
    return TypeAdapter(model)


def _next(request: web.Request, cursor: str, services: Services) -> str:
    path = request.rel_url.update_query(cursor=cursor)
    return services.api_base.removesuffix("/v1") + str(path)


async def send(request: web.Request, stream: Stream) -> web.StreamResponse:
    """Send a stream to its end."""
    # Proxies that collect an answer before they pass it on are asked not to.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    request_id.stamp(request, response)
    response.content_type = stream.media_type
    response.charset = "utf-8"
    endless(request)
    async with aclosing(stream.chunks) as chunks:
        await response.prepare(request)
        if request.method != "HEAD":
            async for chunk in chunks:
                await response.write(chunk)
    await response.write_eof()
    return response
