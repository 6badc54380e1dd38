"""What can go wrong: a start that is refused, a sandbox that won't come up, an API answer."""

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
        self, code: int, reason: str | None, message: str, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def document(self) -> dict[str, Any]:
        """Return the Status object as the API server writes it."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason is not None:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def not_found(plural: str, name: str) -> ApiError:
    """Return the 404 for an object that is not there."""
    details = {"name": name, "kind": plural}
    return ApiError(404, "NotFound", f'{plural} "{name}" not found', details)


def no_such_path() -> ApiError:
    """Return the 404 for a path that no resource has."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    """Return the 405 for a verb that a resource does not have."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def bad_request(message: str) -> ApiError:
    """Return a 400."""
    return ApiError(400, "BadRequest", message)


def conflict(plural: str, name: str) -> ApiError:
    """Return the 409 for a change to a version that is no longer the latest."""
    message = (
        f'Operation cannot be fulfilled on {plural} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    return ApiError(409, "Conflict", message, {"name": name, "kind": plural})


def already_exists(plural: str, name: str) -> ApiError:
    """Return the 409 for a name that is taken."""
    details = {"name": name, "kind": plural}
    return ApiError(409, "AlreadyExists", f'{plural} "{name}" already exists', details)


def invalid(kind: str, name: str, field: str, reason: str, words: str) -> ApiError:
    """Return the 422 for one field, e.g. `FieldValueRequired`, `Required value`."""
    cause = {"reason": reason, "message": words, "field": field}
    details = {"name": name, "kind": kind, "causes": [cause]}
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {field}: {words}', details)
