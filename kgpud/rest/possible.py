"""Which errors an operation can answer with: its own, and those that follow from what it takes."""

from collections.abc import Iterator

from kgpud.errors import Code
from kgpud.rest.auth import Access
from kgpud.rest.route import Route

_OF_TOKENS = (
    Code.INVALID_TOKEN,
    Code.TOKEN_REVOKED,
    Code.ACCOUNT_PENDING,
    Code.ACCOUNT_SUSPENDED,
)
# What is no HTTP, a query that isn't known, too many calls, a bug of ours.
_ANYWHERE = (Code.BAD_REQUEST, Code.VALIDATION_FAILED, Code.RATE_LIMITED, Code.INTERNAL)
_OF_BODIES = (
    Code.INVALID_JSON,
    Code.REQUEST_TIMEOUT,
    Code.BODY_TOO_LARGE,
    Code.UNSUPPORTED_MEDIA_TYPE,
)


def errors(route: Route) -> list[Code]:
    """Return the codes in the order that they are declared in."""
    found = set(_codes(route))
    return [code for code in Code if code in found]


def _codes(route: Route) -> Iterator[Code]:
    yield from route.errors
    yield from _ANYWHERE
    if route.access is not Access.PUBLIC:
        yield from (*_OF_TOKENS, Code.STORE_UNAVAILABLE)
    if route.access in (Access.ACCOUNT, Access.OWN_POD, Access.MAINTAINER):
        yield Code.FORBIDDEN_SCOPE
    if "{" in route.path:
        yield Code.NOT_FOUND
    if route.body:
        yield from _OF_BODIES
