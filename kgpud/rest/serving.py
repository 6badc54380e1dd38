"""One request to one route: who calls, what was sent, the handler, its answer."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter

from kgpud.rest import reading, request_id
from kgpud.rest.auth import Access, Admit, authenticate, authorize, while_admitted
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


def handler(route: Route, services: Services, rates: Rates) -> Handler:
    """Return what serves a route's requests. It raises UserError and `reading.Unfit`.

    `rates` counts the calls of each account, and of each pod.
    """

    async def serve(request: web.Request) -> web.StreamResponse:
        admit = _doorman(route, services, request)
        call = await _call(route, services, request, admit, rates)
        stop_when_gone(request, stops=route.long or route.method == "GET")
        if not route.long:
            return await _answer(request, route, call)
        async with while_admitted(admit, services.clock):
            return await _answer(request, route, call)

    return serve


def _doorman(route: Route, services: Services, request: web.Request) -> Admit:
    async def admit() -> Caller | None:
        if route.access is Access.PUBLIC:
            return None
        caller = await authenticate(request, services.tokens)
        authorize(route.access, caller, request.match_info.get("pod_id"))
        return caller

    return admit


async def _call(
    route: Route, services: Services, request: web.Request, admit: Admit, rates: Rates
) -> Call[Any, Any]:
    caller = await admit()
    if caller is not None:
        rates.take(caller.pod_id or caller.account.account_id)
    path, query = reading.path(request), reading.query(request, route.query)
    headers = reading.headers(request, route)
    slow = not request.content.is_eof()
    body = (
        await reading.body(request, route.body, services.http.body_seconds) if route.body else None
    )
    return Call(
        services=services,
        # A body may have taken its time, and the token may be gone by now.
        caller=await admit() if slow and body is not None else caller,
        path=path,
        query=query,
        headers=headers,
        body=body,
        request_id=request_id.of(request),
        lasts=partial(let_last, request),
        admit=admit,
        operation=f"{route.method} {route.path}",
    )


async def _answer(request: web.Request, route: Route, call: Call[Any, Any]) -> web.StreamResponse:
    answer = await route.handler(call)
    if isinstance(answer, Stream):
        return await send(request, answer)
    response = _json(request, answer, call.services)
    if route.access is Access.PUBLIC:
        make_public(response)
    # A private key or a token is in the answer to a POST or PATCH alone.
    if route.method == "GET" or route.long:
        compress(request, response)
    return response


def make_public(response: web.StreamResponse) -> None:
    """Let any page read the answer, and caches keep it as long as they ask again each time."""
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = "X-Request-ID, Retry-After"


def _json(request: web.Request, answer: Complete, services: Services) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if isinstance(answer, Page):
        if answer.rest is not None:
            headers["Link"] = f'<{_next(request, answer.rest, services)}>; rel="next"'
        answer = answer.lines
    data = _one(answer) if isinstance(answer, Answer) else _many(answer)
    return web.Response(
        body=data,
        content_type="application/json",
        headers=headers,
        zlib_executor_size=EXECUTOR_SIZE,
    )


def _one(answer: Answer) -> bytes:
    # What has a default is to be absent, rather than null, where it was not set.
    return _adapter(type(answer)).dump_json(answer, exclude_unset=True)


@functools.cache
def _adapter(model: type[Answer]) -> TypeAdapter[Answer]:
    # A model's own `model_dump_json` makes a text of it first: five times the work for a long one.
    return TypeAdapter(model)


def _many(answers: Sequence[Answer]) -> bytes:
    return b"[" + b",".join(_one(answer) for answer in answers) + b"]"


def _next(request: web.Request, cursor: str, services: Services) -> str:
    path = request.rel_url.update_query(cursor=cursor)
    return services.api_base.removesuffix("/v1") + str(path)


async def send(request: web.Request, stream: Stream) -> web.StreamResponse:
    """Send a stream to its end."""
    # Proxies that collect an answer before they pass it on are asked not to.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
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
