"""From what a request brings to checked models: its body, its query, its headers and its path."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

from aiohttp import ClientPayloadError, web
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from kgpud.errors import Code, UserError
from kgpud.rest import parts
from kgpud.rest.route import PATH_PARAMETERS, Route
from kgpud.rest.shapes.base import Body, Query

BODY_SECONDS = 60

Turn = AbstractAsyncContextManager[None]
#: For who need not wait for a turn to send.
AT_ONCE: Turn = nullcontext()

M = TypeVar("M", bound=BaseModel)
B = TypeVar("B", bound=Body)


class Unfit(Exception):
    """A body or query could be read, but is not what its model takes."""

    def __init__(self, cause: ValidationError) -> None:
        super().__init__("what was sent does not fit its model")
        self.cause = cause


async def body(request: web.Request, model: type[B], seconds: float, turn: Turn = AT_ONCE) -> B:
    """Read and check the body; none at all, without a Content-Type, equals ``{}``.

    It has to be here after so many seconds, those waited for a turn included. Raises UserError
    (invalid_json, bad_request, unsupported_media_type, body_too_large, request_timeout) and Unfit.
    """
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UserError(Code.UNSUPPORTED_MEDIA_TYPE, "send the body without a Content-Encoding")
    if request.headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise UserError(Code.UNSUPPORTED_MEDIA_TYPE, "send the body with no coding but chunked")
    data = await limited(request, model.body_limit, seconds, turn)
    if not data and (model.may_be_empty or "Content-Type" not in request.headers):
        return _checked(model, {})
    if not _is_json(request):
        raise UserError(Code.UNSUPPORTED_MEDIA_TYPE, "send JSON, as Content-Type: application/json")
    await parts.check(data)
    try:
        # Not json.loads: this one also refuses NaN, lone surrogates and bottomless nesting.
        document = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        detail = str(error) if data else "the body is empty; send {} to take every default"
        raise UserError(Code.INVALID_JSON, detail) from None
    return _checked(model, document)


async def limited(
    request: web.Request, limit: int, seconds: float = BODY_SECONDS, turn: Turn = AT_ONCE
) -> bytes:
    """Return the body's bytes. Raises UserError: body_too_large, bad_request, request_timeout."""
    too_large = UserError(Code.BODY_TOO_LARGE, f"this call takes at most {limit} bytes")
    if (request.content_length or 0) > limit:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(seconds), turn:
            await _continue(request)
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > limit:
                    raise too_large
    except TimeoutError:
        raise UserError(
            Code.REQUEST_TIMEOUT, f"the body was not here within {seconds:g} s"
        ) from None
    except (web.RequestPayloadError, ClientPayloadError):
        raise UserError(Code.BAD_REQUEST, "the body ended early or is badly framed") from None
    return bytes(data)


async def _continue(request: web.Request) -> None:
    """Let whoever waits for it send the body, now that it would not be refused anyway."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def query(request: web.Request, route: Route) -> Query:
    """Check the query. Raises Unfit, and UserError (validation_failed)."""
    if not request.query_string:
        return route.no_query
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise UserError(Code.VALIDATION_FAILED, "is given twice", field=name)
        if not _storable(name + value):
            raise UserError(Code.VALIDATION_FAILED, "is not UTF-8, or holds a NUL", field=name)
        given[name] = value
    return _checked(route.query, given)


def path(request: web.Request) -> Mapping[str, str]:
    """Return the path's parameters. NOT_FOUND for one that no resource could have."""
    for name, value in request.match_info.items():
        # What can't be an id need not reach the database, which takes no lone surrogates.
        parameter = PATH_PARAMETERS[name]
        if not parameter.fits(value):
            raise UserError(Code.NOT_FOUND, f"there is no such {parameter.noun}")
    return request.match_info


def headers(request: web.Request, route: Route) -> Mapping[str, str]:
    """Return those of the route's headers that were sent. Raises UserError (validation_failed)."""
    given: dict[str, str] = {}
    for header in route.headers:
        lines = request.headers.getall(header.name, [])
        # A list may come in several lines (RFC 9110, 5.3); what is none does not fit then.
        value = ", ".join(lines)
        if lines and not header.fits(value):
            raise UserError(Code.VALIDATION_FAILED, f"must be {header.noun}", field=header.name)
        if lines:
            given[header.name] = value
    return given


def _checked(model: type[M], document: object) -> M:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise Unfit(error) from None


def _storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _is_json(request: web.Request) -> bool:
    charset = (request.charset or "utf-8").lower()
    return request.content_type == "application/json" and charset in ("utf-8", "utf8", "us-ascii")
