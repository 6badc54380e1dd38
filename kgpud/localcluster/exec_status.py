"""The document on channel 3 that ends an exec, in the words of Kubernetes 1.36."""

import json
import secrets
from collections.abc import Sequence

from kgpud.localcluster.registry import Document

V4 = "v4.channel.k8s.io"
V5 = "v5.channel.k8s.io"


def exited(protocol: str, argv: Sequence[str], code: int) -> bytes:
    """Return the status of a command that ended with `code`."""
    if code == 0:
        return _encode({"metadata": {}, "status": "Success"})
    if protocol == V5:
        words = f"command terminated with exit code {code}"
    else:
        words = f"error executing command [{' '.join(argv)}], exit code {code}"
    cause = {"reason": "ExitCode", "message": str(code)}
    message = f"command terminated with non-zero exit code: {words}"
    return _encode(_failure(message, "NonZeroExitCode", cause))


def refused(protocol: str, words: str) -> bytes:
    """Return the status of a command that could not be started; `words` are runc's."""
    inner = (
        "error executing command in container: failed to exec in container: failed to start "
        f'exec "{secrets.token_hex(32)}": OCI runtime exec failed: exec failed: {words}'
    )
    cause = f"Internal error occurred: {inner}" if protocol == V5 else inner
    message = f"Internal error occurred: {cause}"
    return _encode({**_failure(message, "InternalError", {"message": cause}), "code": 500})


def _failure(message: str, reason: str, cause: Document) -> Document:
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": {"causes": [cause]},
    }


def _encode(document: Document) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
