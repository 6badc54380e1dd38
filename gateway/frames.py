"""The exec sub-protocol inside websocket messages: channel bytes, close frame, status document.

`v5.channel.k8s.io` and `v4.channel.k8s.io` as the API server speaks them
(k8s.io/apimachinery/pkg/util/remotecommand). Pure: bytes in, values out.
"""

import json
from dataclasses import dataclass

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255

# v5 only: "no more stdin". v4 has no way to say it.
END_OF_STDIN = bytes([CLOSE, STDIN])

_MAX_EXIT_CODE = 255

# One stdin message may be up to 32 MiB; smaller ones keep the far side's buffers small.
MAX_STDIN = 1024 * 1024


@dataclass(frozen=True)
class Status:
    """The runtime's word on how a command ended.

    `exit_code` is the process's own (0 for ``Success``), 128+n after signal n; None means that
    there was no process or the stream failed, and `message` says why.
    """

    exit_code: int | None
    message: str


def resize(columns: int, rows: int) -> bytes:
    """Encode a terminal size for the resize channel. Both are clamped to what a tty can hold."""
    size = {"Width": min(columns, 0xFFFF), "Height": min(rows, 0xFFFF)}
    return bytes([RESIZE]) + json.dumps(size).encode()


def parse_status(payload: bytes) -> Status:
    """Read the document on channel 3. Raises ValueError for anything that isn't a v1 Status."""
    try:
        document = json.loads(payload)
    except RecursionError:
        raise ValueError("a document nested too deeply") from None
    if not isinstance(document, dict) or document.get("status") not in ("Success", "Failure"):
        raise ValueError("not a Status document")
    # JSON can spell halves of characters, which nobody could print.
    message = str(document.get("message", "")).encode(errors="replace").decode()
    if document["status"] == "Success":
        return Status(0, message)
    if document.get("reason") == "NonZeroExitCode":
        return Status(_exit_code(document), message)
    return Status(None, message)


def _exit_code(document: dict[str, object]) -> int:
    details = document.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes if isinstance(causes, list) else []:
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode":
            code = int(str(cause.get("message")))
            if 0 < code <= _MAX_EXIT_CODE:  # 256 would pass for a success on its way to SSH
                return code
    raise ValueError("a NonZeroExitCode without its code")
