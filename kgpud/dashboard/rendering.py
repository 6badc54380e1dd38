"""From an answer to a response: HTML, cookies, and what the browser is told to refuse."""

from datetime import UTC, datetime

import jinja2
from aiohttp import web
from markupsafe import Markup

from kgpud import reasons
from kgpud.dashboard import cookies, files, plot, words
from kgpud.dashboard.visit import File, Page, Redirect, ToProvider, Visit
from kgpud.rest import encoding, request_id

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src {reaches}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # No other site may hear of a sign-in link; with "no-referrer" forms would have no Origin.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def respond(
    request: web.Request, visit: Visit, answer: Page | File | Redirect | ToProvider
) -> web.Response:
    """Return an answer as the browser gets it."""
    if isinstance(answer, Page):
        response = _html(request, visit, answer)
    elif isinstance(answer, File):
        response = web.Response(text=answer.text, content_type=answer.media_type)
        response.headers["Content-Disposition"] = f'attachment; filename="{answer.name}"'
    else:
        response = _elsewhere(answer, secure=visit.site.secure)
    reaches = answer.reaches if isinstance(answer, Page) else ""
    policy = _POLICY.format(reaches=f"'self' {reaches}".rstrip())
    response.headers.update(_HEADERS | {"Content-Security-Policy": policy})
    return response


def _html(request: web.Request, visit: Visit, page: Page) -> web.Response:
    response = web.Response(
        body=_render(visit, page, trace=request_id.of(request)).encode(),
        content_type="text/html",
        charset="utf-8",
        status=page.status,
        zlib_executor_size=encoding.EXECUTOR_SIZE,
    )
    # A private key or a token is in the answer to a form alone.
    if request.method == "GET":
        encoding.compress(request, response)
    return response


def _elsewhere(answer: Redirect | ToProvider, *, secure: bool) -> web.Response:
    if isinstance(answer, ToProvider):
        response = web.Response(status=303, headers={"Location": answer.address})
        cookies.put(response, {cookies.FLOW: answer.flow}, secure=secure)
    else:
        response = web.Response(status=303, headers={"Location": answer.to})
        cookies.put(response, answer.cookies, secure=secure)
    return response


def _render(visit: Visit, page: Page, *, trace: str) -> str:
    return _ENVIRONMENT.get_template(page.template).render(
        site=visit.site,
        services=visit.services,
        me=visit.visitor,
        csrf=visit.csrf() if visit.browser else "",
        trace=trace,
        told=visit.told,
        now=visit.services.clock.now_ms(),
        **page.context,
    )


def _when(moment_ms: int | None, exact: bool = False) -> str | Markup:
    """Show a moment in UTC, to the second if exact; the script makes it the reader's own zone."""
    if moment_ms is None:
        return "\N{EN DASH}"
    moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    iso = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    text = moment.strftime("%Y-%m-%d %H:%M:%S UTC" if exact else "%Y-%m-%d %H:%M UTC")
    mark = Markup(" data-exact") if exact else ""
    return Markup('<time datetime="{}" title="{}"{}>{}</time>').format(iso, text, mark, text)


@jinja2.pass_context
def _since(context: jinja2.runtime.Context, moment_ms: int) -> Markup:
    """Show how long it is since a moment; the script lets it tick."""
    passed = words.duration(context["now"] - moment_ms)
    return Markup('<span data-since="{}">{}</span>').format(moment_ms, passed)


def _credits(amount: int) -> str:
    """Group digits by thin spaces, with a true minus sign before them."""
    return f"{amount:,}".replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")


def _signed(amount: int) -> str:
    return f"+{_credits(amount)}" if amount > 0 else _credits(amount)


# Every value is escaped, every name must exist.
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("kgpud.dashboard"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    {
        "when": _when,
        "action": words.action,
        "bytes": words.size,
        "credits": _credits,
        "day": lambda moment_ms: plot.date(moment_ms // 86_400_000),
        "duration": words.duration,
        "event": words.event,
        "ending": reasons.sentence,
        "phase": words.phase,
        "sentence": words.sentence,
        "signed": _signed,
        "since": _since,
        "static": files.address,
    }
)
