"""The id of a request, 8 random bytes as 16 hex digits: always ours, never the client's.

And the other headers that every answer has, whoever makes it.
"""

import os
from collections.abc import Iterator, Mapping

from aiohttp import web

_HEADERS = web.RequestKey("kgpud.headers", dict[str, str])
# Our name in place of our libraries' versions.
_ALWAYS: Mapping[str, str] = {"Server": "kgpud", "X-Content-Type-Options": "nosniff"}
_OVER_TLS: Mapping[str, str] = {**_ALWAYS, "Strict-Transport-Security": "max-age=31536000"}


def _ids() -> Iterator[str]:
    while True:
        # A few hundred at a time: the system is not asked in every request.
        block = os.urandom(4096).hex()
        yield from (block[at : at + 16] for at in range(0, len(block), 16))


_IDS = _ids()


def begin(request: web.BaseRequest, *, secure: bool = False) -> str:
    """Give a request its id; `secure` says whether its client spoke TLS."""
    made = next(_IDS)
    request[_HEADERS] = {"X-Request-ID": made, **(_OVER_TLS if secure else _ALWAYS)}
    return made


def of(request: web.BaseRequest) -> str:
    """Return the id of a request that has one."""
    return request[_HEADERS]["X-Request-ID"]


def stamp(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put the id where clients find it. For whoever prepares an answer."""
    response.headers.update(request[_HEADERS])
