"""Every error a user can meet: a code that scripts can test and a sentence a person can act on.

Nothing here knows HTTP: `kgpud.rest.problems` maps codes to statuses.
"""

from enum import StrEnum


class Code(StrEnum):
    """The stable, machine-readable names. Renaming one breaks somebody's script."""

    BAD_REQUEST = "bad_request"
    INVALID_JSON = "invalid_json"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    VALIDATION_FAILED = "validation_failed"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - a code, not a secret
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a code, not a secret
    ACCOUNT_PENDING = "account_pending"
    ACCOUNT_SUSPENDED = "account_suspended"
    SIGN_IN_FAILED = "sign_in_failed"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    FORBIDDEN_SCOPE = "forbidden_scope"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    IDEMPOTENCY_IN_FLIGHT = "idempotency_in_flight"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    QUOTA_EXCEEDED = "quota_exceeded"
    NO_CAPACITY = "no_capacity"
    POD_NOT_READY = "pod_not_ready"
    POD_ENDED = "pod_ended"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_EXECS = "too_many_execs"
    EXEC_FAILED = "exec_failed"
    CLUSTER_UNREACHABLE = "cluster_unreachable"
    OBJECT_TOO_LARGE = "object_too_large"
    SIZE_MISMATCH = "size_mismatch"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    UPLOAD_INCOMPLETE = "upload_incomplete"
    OBJECT_EXPIRED = "object_expired"
    OBJECT_DELETED = "object_deleted"
    URL_REFUSED = "url_refused"
    URL_EXPIRED = "url_expired"
    LENGTH_REQUIRED = "length_required"
    UPLOAD_STALLED = "upload_stalled"
    OBJECTS_DISABLED = "objects_disabled"
    OBJECT_STORE_FAILED = "object_store_failed"
    OBJECT_STORE_FULL = "object_store_full"
    STORE_UNAVAILABLE = "store_unavailable"
    INTERNAL = "internal"


class UserError(Exception):
    """Something a user can read and mend.

    `field` names the offending part of the request (a JSON path such as ``env.NVIDIA_X``),
    where there is one; `retry_after` is after how many seconds it is worth trying again. The
    message never carries a secret.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retry_after = retry_after
