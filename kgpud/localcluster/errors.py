"""What can go wrong: a start that is refused, a sandbox that won't come up, an API answer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class StartError(Exception):
    """The cluster can't start. The text is one line and says the remedy."""


class SandboxError(Exception):
    """A pod's sandbox can't be had, or has ended. The text is for a container's message."""


class CommandError(Exception):
    """A container's own command can't be started; the text is for its status and Events."""


class ExecRefusedError(Exception):
    """A command could not be started in a pod; the text is runc's, after `exec failed: `."""


class ApiError(Exception):
    """A Kubernetes Status of failure, answered with its code."""

    def __init__(
        self,
        code: int,
        reason: str | None,
        message: str,
        details: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.metadata = metadata or {}

    def document(self) -> dict[str, Any]:
        """Return the Status object as the API server writes it."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason is not None:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def not_found(plural: str, name: str, group: str = "") -> ApiError:
    """Return the 404 for an object that is not there."""
    said = f'{_full(plural, group)} "{name}" not found'
    return ApiError(404, "NotFound", said, _details(name, plural, group))


def no_such_path() -> ApiError:
    """Return the 404 for a path that no resource has."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    """Return the 405 for a verb that a resource does not have."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def not_acceptable() -> ApiError:
    """Return the 406 for an Accept header without a form that is spoken here."""
    forms = (
        "application/json, application/yaml, application/vnd.kubernetes.protobuf, "
        "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    )
    message = f"406: Not Acceptable\n\nAvailable representations: {forms}"
    return ApiError(406, "NotAcceptable", message, {})


def unsupported_media_type(message: str = "415: Unsupported Media Type") -> ApiError:
    """Return the 415 for a body of another form."""
    return ApiError(415, "UnsupportedMediaType", message, {})


def unknown_body() -> ApiError:
    """Return the 415 for an object in a form that is not read here."""
    return unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


def bad_request(message: str) -> ApiError:
    """Return a 400."""
    return ApiError(400, "BadRequest", message)


def forbidden(group: str, plural: str, name: str, words: str) -> ApiError:
    """Return the 403 of a request that no rule allows; `plural` is empty for other paths."""
    if not plural:
        return ApiError(403, "Forbidden", f"forbidden: {words}", {})
    what = _full(plural, group) + (f' "{name}"' if name else "")
    return ApiError(
        403, "Forbidden", f"{what} is forbidden: {words}", _details(name, plural, group)
    )


def conflict(plural: str, name: str, group: str = "", words: str | None = None) -> ApiError:
    """Return the 409 for a change to a version that is no longer the latest, or other `words`."""
    words = words or (
        "the object has been modified; "
        "please apply your changes to the latest version and try again"
    )
    message = f'Operation cannot be fulfilled on {_full(plural, group)} "{name}": {words}'
    return ApiError(409, "Conflict", message, _details(name, plural, group))


def already_exists(plural: str, name: str, group: str = "") -> ApiError:
    """Return the 409 for a name that is taken."""
    message = f'{_full(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(name, plural, group))


def expired(message: str, metadata: dict[str, Any] | None = None) -> ApiError:
    """Return the 410 for a version that is no longer known."""
    return ApiError(410, "Expired", message, metadata=metadata)


@dataclass(frozen=True)
class Cause:
    """What is wrong with one field: `reason` is Kubernetes' word, `words` go to a person."""

    field: str
    reason: str
    words: str


def required(field: str, words: str = "") -> Cause:
    """Return the cause of a value that must be there."""
    return Cause(field, "FieldValueRequired", f"Required value: {words}".removesuffix(": "))


def wrong(field: str, value: object, words: str) -> Cause:
    """Return the cause of a value that breaks a rule."""
    shown = f'"{value}"' if isinstance(value, str) else json.dumps(value)
    return Cause(field, "FieldValueInvalid", f"Invalid value: {shown}: {words}")


def unsupported(field: str, value: object, choices: Sequence[str]) -> Cause:
    """Return the cause of a value that is none of `choices`."""
    listed = ", ".join(f'"{one}"' for one in sorted(choices))
    words = f'Unsupported value: "{value}": supported values: {listed}'
    return Cause(field, "FieldValueNotSupported", words)


def duplicate(field: str, value: str) -> Cause:
    """Return the cause of a value that must not be there twice."""
    return Cause(field, "FieldValueDuplicate", f'Duplicate value: "{value}"')


def not_allowed(field: str, words: str) -> Cause:
    """Return the cause of a value that must not be there or change."""
    return Cause(field, "FieldValueForbidden", f"Forbidden: {words}")


def invalid(kind: str, name: str, causes: Sequence[Cause], group: str = "") -> ApiError:
    """Return the 422 for one or more fields."""
    listed = [{"reason": one.reason, "message": one.words, "field": one.field} for one in causes]
    said = [f"{one.field}: {one.words}" for one in causes]
    words = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = {**_details(name, kind, group), "causes": listed}
    return ApiError(422, "Invalid", f'{_full(kind, group)} "{name}" is invalid: {words}', details)


def _full(what: str, group: str) -> str:
    return f"{what}.{group}" if group else what


def _details(name: str, kind: str, group: str) -> dict[str, Any]:
    named = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in named.items() if value}
