"""The id of a request: 8 random bytes as 16 hex digits, always ours and never the client's."""

import secrets

from aiohttp import web

_KEY = web.RequestKey("kgpud.request_id", str)


def fresh() -> str:
    """Return a new id."""
    return secrets.token_hex(8)


def of(request: web.BaseRequest) -> str:
    """Return the request's id, the same whenever it is asked for."""
    if _KEY not in request:
        request[_KEY] = fresh()
    return request[_KEY]


def stamp(response: web.StreamResponse, request_id: str) -> None:
    """Put the id where clients find it, and our name in place of our libraries' versions."""
    response.headers["X-Request-ID"] = request_id
    response.headers["Server"] = "kgpud"
