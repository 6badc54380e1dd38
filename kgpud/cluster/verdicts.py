"""What an API server's refusal, or the lack of an answer, means: typed errors. Pure."""

import os
import ssl

import aiohttp

from kgpud.cluster import answers
from kgpud.cluster.errors import ClusterError, Expired, Refused, Unreachable

_GONE, BUSY, _SERVER = 410, 429, 500

#: No connection was made: nobody has seen the request. A machine that is off does not even refuse.
UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def refusal(status: int, body: bytes, retry_after: float = 0.0) -> ClusterError:
    """Return the error that an answer is, by its HTTP status and its body."""
    try:
        said = answers.document(body)
        message, reason = str(said.get("message", "")), str(said.get("reason", ""))
    except ValueError:
        message, reason = body[:200].decode(errors="replace"), ""
    message = f"API server: {status} {message}".rstrip()
    if status == BUSY or status >= _SERVER:
        maybe_done = status >= _SERVER
        return Unreachable(message, maybe_done=maybe_done, status=status, retry_after=retry_after)
    kind = Expired if status == _GONE else Refused
    return kind(message, status=status, reason=reason)


def unreachable(error: Exception, *, maybe_done: bool) -> Unreachable:
    """Return the error for a request that had no usable answer."""
    return Unreachable(f"API server: {_why(error)}", maybe_done=maybe_done)


def _why(error: Exception) -> str:
    """Say what an operator can look into; a library's own words are for its developers."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "timed out: no connection could be made"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host}:{error.port}: {why_unconnected(error.os_error)}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    return f"{type(error).__name__}: {error}"


def why_unconnected(error: OSError) -> str:
    """Say why no connection was made: what asyncio raises names the address again instead."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate can't be believed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS ({error.reason})"
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)
