"""How the daemon logs: one JSON line an event."""

import json
import logging
import os
from datetime import UTC, datetime
from typing import TextIO, cast

import structlog

_requests: TextIO | None = None


class _Lossy:
    """A file that loses lines where it must: a full disk, or a reader that left, stops nobody."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, line: str) -> None:
        """Write a line, and before it how many were lost since the last one."""
        if self._lost:
            # The first of them may have been torn.
            lost = {"lines": self._lost, "event": "log.lines_lost", "level": "error"}
            line = f"\n{json.dumps(lost)}\n{line}"
        data = line.encode(errors="backslashreplace")
        try:
            # Past the stream's own buffer, which would try again what is lost.
            whole = os.write(self._stream.fileno(), data) == len(data)
        except (OSError, ValueError):
            # The latter if it is closed.
            whole = False
        self._lost = 0 if whole else self._lost + 1

    def flush(self) -> None:
        """Do nothing: all is written at once."""


def configure(level: str, stream: TextIO) -> None:
    """Write events of `level` and above to the file under `stream`; libraries' too.

    What can't be written is lost, and counted.
    """
    global _requests  # noqa: PLW0603 - as structlog's own configuration, there is one a process
    number = logging.getLevelNamesMapping()[level.upper()]
    stream = cast("TextIO", _Lossy(stream))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Without the frames' variables: tokens and keys pass through them.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    _requests = stream if number <= logging.INFO else None
    logging.basicConfig(level=logging.WARNING, stream=stream, format="%(name)s: %(message)s")


def request(
    request_id: str, peer: str, method: str, route: str | None, status: int, seconds: float
) -> None:
    """Write the line that every answered request leaves; `status` is 0 for a broken one.

    By hand: through structlog it costs as much as aiohttp's share of a short answer. None of the
    texts may need JSON's escapes.
    """
    if _requests is None:
        return
    now = datetime.now(UTC).isoformat().removesuffix("+00:00")
    path = "null" if route is None else f'"{route}"'
    _requests.write(
        f'{{"request_id": "{request_id}", "peer": "{peer}", "method": "{method}", '
        f'"route": {path}, "status": {status or "null"}, "ms": {seconds * 1000:.1f}, '
        f'"event": "request", "level": "info", "timestamp": "{now}Z"}}\n'
    )
