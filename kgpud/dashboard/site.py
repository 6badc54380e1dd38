"""From the page table to handlers: who is here, and whether a form is ours."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from kgpud.dashboard import cookies, files, rendering
from kgpud.dashboard.routes import PAGES, Access, PageRoute
from kgpud.dashboard.visit import Answer, Page, Redirect, Site, Visit
from kgpud.errors import Code, UserError
from kgpud.rest import problems, reading
from kgpud.rest.answering import STORE_AWAY
from kgpud.rest.server import stop_when_gone
from kgpud.rest.serving import send
from kgpud.rest.shapes.streams import EventStream
from store.db import StoreUnavailable
from store.records import Account

log = structlog.get_logger()

# An environment may be 64 KiB, and more as a form has it.
_FORM_BYTES = 256 * 1024
_FIELDS = 100

_BROKEN = UserError(
    Code.INTERNAL, "something broke on our side; quote the request's id when you report it"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def install(app: web.Application, site: Site) -> None:
    """Add the pages to an application."""
    for name, path in files.paths():
        app.router.add_get(path, files.serve(name))
    for route in PAGES:
        add = app.router.add_get if route.method == "GET" else app.router.add_post
        add(route.path, _serve(route, site))
    app.middlewares.append(_lost(_serve(PageRoute("GET", "", _nowhere, Access.PUBLIC), site)))


def _serve(route: PageRoute, site: Site) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        visit = Visit(site, None, "", {}, request.cookies, told=site.told())
        try:
            # The page's own script looks for news, and says so.
            visit = await _known(visit, in_use="X-News" not in request.headers)
            answer = await _answer(route, request, visit)
        except Exception as error:  # noqa: BLE001 - each is logged or shown
            answer = _failure(error)
        if isinstance(answer, EventStream):
            stop_when_gone(request, stops=True)
            with site.services.streams.taken(visit.account.account_id):
                return await send(request, answer)
        return rendering.respond(request, visit, answer)

    return serve


def _lost(page: Handler) -> Middleware:
    """Show people a page where there is none; the API, and whoever else asks, is told as ever."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            reads = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
            if not reads or request.path.startswith("/v1/"):
                raise
            return await page(request)

    return answer


async def _nowhere(_visit: Visit) -> Answer:
    raise UserError(Code.NOT_FOUND, "there is no such page")


async def _known(visit: Visit, *, in_use: bool) -> Visit:
    """Return the visit with who pays it, if the browser is signed in."""
    browser = visit.cookies.get(cookies.name(cookies.BROWSER, secure=visit.site.secure), "")
    if not browser:
        return visit
    visitor = await visit.site.sign_ins.account(browser, in_use=in_use)
    return visit if visitor is None else replace(visit, visitor=visitor, browser=browser)


def _failure(error: Exception) -> Page:
    """Return an error in words, as the API would have said it."""
    if isinstance(error, StoreUnavailable):
        log.error("store_unavailable", error=str(error))
        shown = STORE_AWAY
    elif isinstance(error, UserError):
        shown = error
    else:
        log.error("request_failed", code=str(Code.INTERNAL), exc_info=error)
        shown = _BROKEN
    return Page("error.html", {"error": shown}, problems.STATUS[shown.code])


async def _answer(route: PageRoute, request: web.Request, visit: Visit) -> Answer:
    refused = _refused(route, visit.visitor)
    if refused is not None:
        return refused
    visit = replace(visit, path=reading.path(request))
    if request.method in ("GET", "HEAD"):
        return await route.handler(replace(visit, form=dict(request.query)))
    form = await _form(request, visit.site)
    # Only a browser that is signed in has anything that another site could misuse.
    if visit.browser and not visit.is_ours(form.get("csrf", "")):
        raise UserError(
            Code.FORBIDDEN_SCOPE, "this form is from an older sign-in: go back and load it again"
        )
    return await route.handler(replace(visit, form=form))


def _refused(route: PageRoute, visitor: Account | None) -> Answer | None:
    """Return what to show instead of a page that this account may not see."""
    if route.access is Access.PUBLIC:
        return None
    if visitor is None:
        return Redirect("/sign-in")
    if route.access is Access.SIGNED_IN:
        return None
    if visitor.status != "approved":
        return Page("waiting.html", status=403)
    if route.access is Access.MAINTAINER and visitor.role != "maintainer":
        raise UserError(Code.NOT_FOUND, "there is no such page")
    return None


async def _form(request: web.Request, site: Site) -> Mapping[str, str]:
    """Return a form's fields, once it is sure that a page of ours has sent it."""
    ours = (None, site.origin, f"{request.scheme}://{request.host}")
    fetched = request.headers.get("Sec-Fetch-Site", "none")
    if request.headers.get("Origin") not in ours or fetched not in ("same-origin", "none"):
        raise UserError(Code.FORBIDDEN_SCOPE, "forms are taken from our own pages alone")
    if request.content_type != "application/x-www-form-urlencoded":
        raise UserError(Code.UNSUPPORTED_MEDIA_TYPE, "send a form")
    data = await reading.limited(request, _FORM_BYTES)
    try:
        fields = parse_qsl(
            data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS
        )
    except ValueError:
        raise UserError(Code.BAD_REQUEST, "the form can't be read") from None
    if any("\0" in name + value for name, value in fields):
        raise UserError(Code.BAD_REQUEST, "the form holds a NUL")
    return dict(fields)
