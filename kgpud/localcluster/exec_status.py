"""What channel 3 says at the end of an exec, in the words of Kubernetes 1.36."""

import json
import secrets
from collections.abc import Sequence

from kgpud.localcluster.exec_protocol import Protocol
from kgpud.localcluster.registry import Document

# What Go's encoder escapes in strings, so that JSON can stand inside HTML.
_ESCAPED = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}


def exited(protocol: Protocol, argv: Sequence[str], code: int) -> bytes:
    """Return the status of a command that ended with `code`; empty when there is none to send."""
    if code == 0:
        success = {"metadata": {}, "status": "Success"}
        return _encode(success) if protocol.documents else b""
    if protocol.translated:
        words = f"command terminated with exit code {code}"
    else:
        words = f"error executing command [{' '.join(argv)}], exit code {code}"
    cause = {"reason": "ExitCode", "message": str(code)}
    message = f"command terminated with non-zero exit code: {words}"
    return _told(protocol, _failure(message, "NonZeroExitCode", cause))


def refused(protocol: Protocol, words: str) -> bytes:
    """Return the status of a command that could not be started; `words` are runc's."""
    inner = (
        "error executing command in container: failed to exec in container: failed to start "
        f'exec "{secrets.token_hex(32)}": OCI runtime exec failed: exec failed: {words}'
    )
    return internal(protocol, f"Internal error occurred: {inner}" if protocol.translated else inner)


def internal(protocol: Protocol, cause: str) -> bytes:
    """Return the status of an exec that failed before there was a command."""
    message = f"Internal error occurred: {cause}"
    document = _failure(message, "InternalError", {"message": cause})
    return _told(protocol, {**document, "code": 500})


def _failure(message: str, reason: str, cause: Document) -> Document:
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": {"causes": [cause]},
    }


def _told(protocol: Protocol, document: Document) -> bytes:
    return _encode(document) if protocol.documents else document["message"].encode()


def _encode(document: Document) -> bytes:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_ESCAPED).encode(errors="replace")
