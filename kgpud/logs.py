"""How the daemon logs: one JSON line an event."""

import logging
from datetime import UTC, datetime
from typing import TextIO

import structlog

_requests: TextIO | None = None


def configure(level: str, stream: TextIO) -> None:
    """Write events of `level` and above to `stream`, which is line-buffered; libraries' too."""
    global _requests  # noqa: PLW0603 - as structlog's own configuration, there is one a process
    number = logging.getLevelNamesMapping()[level.upper()]
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
