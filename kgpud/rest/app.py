"""From the route table and the services to an aiohttp application."""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from aiohttp import web

from kgpud.errors import Code, UserError
from kgpud.rest import body, problems, request_id
from kgpud.rest.answers import Answer
from kgpud.rest.auth import Access, authenticate, authorize
from kgpud.rest.call import Call, Services
from kgpud.rest.routes import ROUTES, Route
from store.db import StoreUnavailable

__all__ = ["Services", "build"]

log = structlog.get_logger()

_STORE_AWAY = UserError(
    Code.STORE_UNAVAILABLE, "the database can't be used just now; nothing was changed, try again"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build(services: Services) -> web.Application:
    """Return the API as an application, to be served by `kgpud.rest.server.Runner`."""
    app = web.Application(middlewares=[_answer_everything])
    for route in ROUTES:
        add = app.router.add_get if route.method == "GET" else _adder(app, route.method)
        add(route.path, _serve(route, services), expect_handler=_expect)
    app.on_response_prepare.append(_stamp)
    return app


def _adder(app: web.Application, method: str) -> Callable[..., Any]:
    def add(path: str, handler: Handler, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        app.router.add_route(method, path, handler, **options)

    return add


def _serve(route: Route, services: Services) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        pod_id = request.match_info.get("pod_id", "")
        caller = None
        if route.access is not Access.PUBLIC:
            caller = await authenticate(request, services.tokens)
            authorize(route.access, caller, pod_id)
        # An id that can't be one need not reach the database, which takes no lone surrogates.
        if pod_id and not re.fullmatch(r"[a-z0-9-]{1,100}", pod_id):
            raise UserError(Code.NOT_FOUND, "no such pod")
        sent = await body.read(request, route.accepts) if route.accepts else None
        answer = await route.handler(Call(services, caller, pod_id, sent))
        return _json(answer, private=route.access is not Access.PUBLIC)

    return serve


def _json(answer: Answer | Sequence[Answer], *, private: bool) -> web.Response:
    listed = [answer] if isinstance(answer, Answer) else answer
    # Only `private_key` has a default: it is to be absent rather than null.
    data = b",".join(one.model_dump_json(exclude_unset=True).encode() for one in listed)
    if listed is answer:
        data = b"[" + data + b"]"
    headers = {"Cache-Control": "no-store" if private else "no-cache"}
    return web.Response(body=data, content_type="application/json", headers=headers)


@web.middleware
async def _answer_everything(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every outcome its shape, its id and its line in the log."""
    trace = request_id.of(request)
    begun = time.monotonic()
    with structlog.contextvars.bound_contextvars(request_id=trace):
        try:
            response = await handler(request)
        except UserError as error:
            response = problems.of_user_error(error, trace)
            if response.status >= 500:  # noqa: PLR2004 - the first of them
                log.exception("request_failed", code=str(error.code))
        except StoreUnavailable as error:
            log.error("store_unavailable", error=str(error))  # noqa: TRY400 - the disk's, not ours
            response = problems.of_user_error(_STORE_AWAY, trace)
        except body.BodyRefused as error:
            response = problems.of_validation(error.cause, trace)
        except web.HTTPException as error:
            response = problems.of_http(error, trace)
        except Exception:
            log.exception("request_failed", code=str(Code.INTERNAL))
            response = problems.internal(trace)
        log.info(
            "request",
            method=request.method,
            # Raw paths are the caller's words; the route's are ours.
            route=_template(request),
            status=response.status,
            ms=round((time.monotonic() - begun) * 1000, 1),
        )
    return response


def _template(request: web.Request) -> str | None:
    resource = request.match_info.route.resource
    return resource.canonical if resource else None


async def _stamp(request: web.Request, response: web.StreamResponse) -> None:
    request_id.stamp(response, request_id.of(request))


async def _expect(_request: web.Request) -> None:
    """Leave `100 Continue` to whoever reads the body."""
