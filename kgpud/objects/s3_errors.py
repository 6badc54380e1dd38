"""What S3's client raises, as one StoreFailed whose text has no secret in it."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import aiohttp

from kgpud.objects.stores import FailureKind, StoreFailed

# A status stands for an answer without a code: a proxy's. botocore says 500 of what is no XML.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_KINDS: Mapping[str, FailureKind] = {
    "AccessDenied": "denied",
    "AccountProblem": "denied",
    "AllAccessDisabled": "denied",
    "ExpiredToken": "denied",
    "InvalidAccessKeyId": "denied",
    "InvalidToken": "denied",
    "SignatureDoesNotMatch": "denied",
    "Unauthorized": "denied",
    "401": "denied",
    "403": "denied",
    "RequestTimeTooSkewed": "clock_skew",
    "NoSuchBucket": "no_bucket",
    "InternalError": "unreachable",
    "ServiceUnavailable": "unreachable",
    "SlowDown": "unreachable",
    "502": "unreachable",
    "503": "unreachable",
    "504": "unreachable",
}


@cache
def everything() -> tuple[type[BaseException], ...]:
    """Return all that a call may raise."""
    # Loaded by S3Store.open, and only there.
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    return (
        ClientError,
        BotoCoreError,
        aiohttp.ClientError,
        TimeoutError,
        OSError,
    )


def _code(error: BaseException) -> str:
    """Return S3's own code, or the HTTP status as text; "" for what no store has answered."""
    response = getattr(error, "response", None)
    return str(response["Error"].get("Code", "")) if isinstance(response, dict) else ""


def translated(error: BaseException) -> StoreFailed:
    """Return what a failure means. Its text is the store's code and our class names alone."""
    from botocore import exceptions  # noqa: PLC0415

    named = _code(error)
    if named:
        # Not the message: stores put the string that they signed into it.
        operation = getattr(error, "operation_name", "")
        return StoreFailed(_KINDS.get(named, "failed"), f"{operation}: {named}", code=named)
    name = type(error).__name__
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return StoreFailed("denied", f"no usable credentials ({name})")
    away = (exceptions.HTTPClientError, exceptions.ConnectionError)
    if isinstance(error, (*away, aiohttp.ClientError, TimeoutError, OSError)):
        return StoreFailed("unreachable", name)
    return StoreFailed("failed", name)


def field(answer: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - see S3Client
    """Return what an answer has to have. Raises StoreFailed: what answers is no S3."""
    try:
        return answer[name]
    except KeyError:
        raise StoreFailed("failed", f"an answer without {name}") from None
