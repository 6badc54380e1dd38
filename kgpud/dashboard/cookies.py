"""The two cookies: who uses this browser, and the secret of a sign-in that is under way."""

from collections.abc import Mapping

from aiohttp import web

from kgpud import signin

BROWSER = "kgpud"
FLOW = "kgpud-sign-in"
_SECONDS = {BROWSER: signin.WHOLE_MS // 1000, FLOW: 600}


def name(cookie: str, *, secure: bool) -> str:
    """Return a cookie's name; with TLS one that no sibling domain can plant (RFC 6265bis 4.1.3)."""
    return f"__Host-{cookie}" if secure else cookie


def put(response: web.Response, cookies: Mapping[str, str | None], *, secure: bool) -> None:
    """Set cookies, or remove those whose value is None.

    Lax rather than strict: the provider sends the browser back here, and it must be known then.
    """
    for cookie, value in cookies.items():
        response.set_cookie(
            name(cookie, secure=secure),
            value or "",
            max_age=_SECONDS[cookie] if value else 0,
            path="/",
            secure=secure,
            httponly=True,
            samesite="Lax",
        )
