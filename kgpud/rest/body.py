"""From the bytes of a request to a checked model."""

from typing import TypeVar

from aiohttp import ClientPayloadError, web
from pydantic import ValidationError
from pydantic_core import from_json

from kgpud.errors import Code, UserError
from kgpud.rest.requests import Body

B = TypeVar("B", bound=Body)


class BodyRefused(Exception):
    """The body is JSON, but not what its model takes."""

    def __init__(self, cause: ValidationError) -> None:
        super().__init__("the body does not fit its model")
        self.cause = cause


async def read(request: web.Request, model: type[B]) -> B:
    """Read and check the body; none at all, without a Content-Type, equals ``{}``.

    Raises UserError (invalid_json, unsupported_media_type, body_too_large, bad_request) and
    BodyRefused.
    """
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UserError(Code.UNSUPPORTED_MEDIA_TYPE, "send the body without a Content-Encoding")
    data = await _bytes(request, model.body_limit)
    if "Content-Type" not in request.headers and not data:
        return _checked(model, {})
    if not _is_json(request):
        raise UserError(Code.UNSUPPORTED_MEDIA_TYPE, "send JSON, as Content-Type: application/json")
    try:
        # Not json.loads: this one also refuses NaN, lone surrogates and bottomless nesting.
        document = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        detail = str(error) if data else "the body is empty; send {} to take every default"
        raise UserError(Code.INVALID_JSON, detail) from None
    return _checked(model, document)


def _checked(model: type[B], document: object) -> B:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise BodyRefused(error) from None


def _is_json(request: web.Request) -> bool:
    charset = (request.charset or "utf-8").lower()
    return request.content_type == "application/json" and charset in ("utf-8", "utf8", "us-ascii")


async def _bytes(request: web.Request, limit: int) -> bytes:
    too_large = UserError(Code.BODY_TOO_LARGE, f"this call takes at most {limit} bytes")
    if (request.content_length or 0) > limit:
        raise too_large
    # Only now, so that whoever waits for it need not send what would be refused anyway.
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    data = bytearray()
    try:
        async for chunk in request.content.iter_any():
            data += chunk
            if len(data) > limit:
                raise too_large
    except (web.RequestPayloadError, ClientPayloadError):
        raise UserError(Code.BAD_REQUEST, "the body ended early or is badly framed") from None
    return bytes(data)
