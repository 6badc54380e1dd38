"""How an error looks over HTTP: `application/problem+json` (RFC 9457), and which status it has."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from kgpud.errors import Code, UserError

#: The only place where a code becomes a status.
STATUS: Mapping[Code, int] = {
    Code.BAD_REQUEST: 400,
    Code.INVALID_JSON: 400,
    Code.INVALID_TOKEN: 401,
    Code.TOKEN_REVOKED: 401,
    Code.ACCOUNT_PENDING: 401,
    Code.ACCOUNT_SUSPENDED: 401,
    Code.SIGN_IN_FAILED: 401,
    Code.INSUFFICIENT_CREDITS: 402,
    Code.FORBIDDEN_SCOPE: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.DUPLICATE: 409,
    Code.CONFLICT: 409,
    Code.IDEMPOTENCY_IN_FLIGHT: 409,
    Code.QUOTA_EXCEEDED: 409,
    Code.NO_CAPACITY: 409,
    Code.POD_NOT_READY: 409,
    Code.POD_ENDED: 409,
    Code.OBJECT_TOO_LARGE: 409,
    Code.SIZE_MISMATCH: 409,
    Code.CHECKSUM_MISMATCH: 409,
    Code.UPLOAD_INCOMPLETE: 409,
    Code.URL_REFUSED: 403,
    Code.URL_EXPIRED: 403,
    Code.UPLOAD_STALLED: 408,
    Code.OBJECT_EXPIRED: 410,
    Code.OBJECT_DELETED: 410,
    Code.LENGTH_REQUIRED: 411,
    Code.REQUEST_TIMEOUT: 408,
    Code.BODY_TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.IDEMPOTENCY_MISMATCH: 422,
    Code.VALIDATION_FAILED: 422,
    Code.RATE_LIMITED: 429,
    Code.TOO_MANY_EXECS: 429,
    Code.INTERNAL: 500,
    Code.OBJECTS_DISABLED: 501,
    Code.EXEC_FAILED: 502,
    Code.OBJECT_STORE_FAILED: 502,
    Code.CLUSTER_UNREACHABLE: 503,
    Code.STORE_UNAVAILABLE: 503,
    Code.OBJECT_STORE_FULL: 507,
}

_TITLES: Mapping[Code, str] = {
    Code.INVALID_JSON: "The body is not JSON",
    Code.UNSUPPORTED_MEDIA_TYPE: "The body must be application/json",
    Code.INVALID_TOKEN: "No such token",
    Code.ACCOUNT_PENDING: "The account is not approved yet",
    Code.FORBIDDEN_SCOPE: "This token may not do that",
    Code.INTERNAL: "The server made a mistake",
    Code.EXEC_FAILED: "The command's stream broke",
}

# A request's own key may be named in an answer, but not at any length.
_SHOWN = 80
_MOST_ERRORS = 50


class FieldError(BaseModel):
    """What is wrong with one field: its path (``env.NVIDIA_X``, "" for the whole body) and why."""

    field: str
    message: str


class Problem(BaseModel):
    """The one shape of every error. `code` is stable, `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    code: Code
    errors: list[FieldError] | None = None
    trace_id: str | None = None


def response(
    code: Code,
    detail: str,
    *,
    request_id: str,
    errors: Sequence[FieldError] = (),
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Build the answer for an error; 5xx carry the request's id as `trace_id`."""
    status = status or STATUS[code]
    problem = _problem(code, status, detail, errors, request_id)
    answer = web.Response(
        body=problem.model_dump_json(exclude_none=True).encode(),
        status=status,
        content_type="application/problem+json",
        headers=headers,
    )
    answer.headers["Cache-Control"] = "no-store"
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="kgpud"'
    return answer


def example(code: Code) -> dict[str, object]:
    """Return what an error with this code looks like."""
    errors = [FieldError(field="gpu_count", message="must be less than or equal to 4")]
    fields = errors if code is Code.VALIDATION_FAILED else []
    problem = _problem(code, STATUS[code], "What a person should know.", fields, "9f86d081884c7d65")
    return problem.model_dump(exclude_none=True, mode="json")


def _problem(
    code: Code, status: int, detail: str, errors: Sequence[FieldError], request_id: str
) -> Problem:
    return Problem(
        type=f"urn:kgpud:problem:{code}",
        title=_TITLES.get(code, str(code).replace("_", " ").capitalize()),
        status=status,
        detail=detail,
        code=code,
        errors=list(errors) or None,
        trace_id=request_id if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None,
    )


def internal(request_id: str) -> web.Response:
    """Build the 500 that tells nothing but where to find the log line."""
    detail = "something broke on our side; quote the trace_id when you report it"
    return response(Code.INTERNAL, detail, request_id=request_id)


def of_user_error(error: UserError, request_id: str) -> web.Response:
    """Build the answer for an error that a service raised."""
    named = error.field is not None and error.code is not Code.NOT_FOUND
    errors = [FieldError(field=_shown(error.field or ""), message=error.message)] if named else []
    # A message about a field need not make sense without its name.
    where = f"{errors[0].field}: " if errors and error.code is Code.VALIDATION_FAILED else ""
    wait = None if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return response(
        error.code, where + error.message, request_id=request_id, errors=errors, headers=wait
    )


def of_validation(error: ValidationError, request_id: str) -> web.Response:
    """Build the 422 for a body that its model refused. What was sent is not repeated in it."""
    found = error.errors(include_input=False, include_url=False)
    errors = [_field_error(detail) for detail in found[:_MOST_ERRORS]]
    first = errors[0]
    where = f"{first.field}: " if first.field else ""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return response(
        Code.VALIDATION_FAILED,
        f"{where}{first.message}{more}",
        request_id=request_id,
        errors=errors,
    )


def of_http(error: web.HTTPException, request_id: str) -> web.Response:
    """Build the answer for what aiohttp itself refused."""
    status = error.status
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return response(
            Code.METHOD_NOT_ALLOWED,
            f"this path answers {allowed}",
            request_id=request_id,
            headers={"Allow": allowed},
        )
    codes = {404: Code.NOT_FOUND, 413: Code.BODY_TOO_LARGE, 415: Code.UNSUPPORTED_MEDIA_TYPE}
    code = codes.get(status, Code.BAD_REQUEST if status < 500 else Code.INTERNAL)  # noqa: PLR2004
    lost = "no such path; the API's begin with /v1, and /docs shows them"
    detail = lost if status == HTTPStatus.NOT_FOUND else error.reason
    return response(code, detail, request_id=request_id, status=status)


def _field_error(detail: Any) -> FieldError:  # noqa: ANN401 - pydantic's ErrorDetails
    path = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    messages = {
        "extra_forbidden": "unknown field",
        "missing": "is required",
        "model_type": "must be a JSON object",
        "model_attributes_type": "must be a JSON object",
        "string_type": "must be a text",
        "int_type": "must be a whole number",
        "list_type": "must be a list",
        "too_short": "must not be empty",
        "dict_type": "must be a JSON object",
    }
    message = messages.get(detail["type"], detail["msg"].replace("Input should be", "must be"))
    return FieldError(field=_shown(path), message=message)


def _shown(text: str) -> str:
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return printable if len(printable) <= _SHOWN else printable[:_SHOWN] + "…"
