"""Which part of a container's log a request asks for, and in what form."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kgpud.localcluster.container_log import Line
from kgpud.localcluster.errors import Cause, bad_request, invalid, not_allowed, wrong

_TRUE = ("1", "true")
_NS = 1_000_000_000
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class LogQuery:
    """`tail` in lines, `limit` in bytes, `since` in ns since the epoch; None is no bound."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    limit: int | None = None
    since: int | None = None


def read(query: Mapping[str, str]) -> LogQuery:
    """Read the query of a log request. ApiError 400 or 422 for values that are none."""
    seconds = _number(query, "sinceSeconds")
    tail, limit = _number(query, "tailLines"), _number(query, "limitBytes")
    causes = list(_causes(query, tail, limit, seconds))
    if causes:
        raise invalid("PodLogOptions", "", causes)
    since = _moment(query["sinceTime"]) if query.get("sinceTime") else None
    if seconds is not None:
        since = time.time_ns() - seconds * _NS
    flags = {name: query.get(name) in _TRUE for name in ("follow", "previous", "timestamps")}
    return LogQuery(**flags, tail=tail, limit=limit, since=since)


def _causes(
    query: Mapping[str, str], tail: int | None, limit: int | None, seconds: int | None
) -> Iterator[Cause]:
    if tail is not None and tail < 0:
        yield wrong("tailLines", tail, "must be greater than or equal to 0")
    if limit is not None and limit < 1:
        yield wrong("limitBytes", limit, "must be greater than 0")
    if seconds is not None and query.get("sinceTime"):
        yield not_allowed("", "at most one of `sinceTime` or `sinceSeconds` may be specified")
    elif seconds is not None and seconds < 1:
        yield wrong("sinceSeconds", seconds, "must be greater than 0")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        words = f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}"'
        raise bad_request(f'{words} as "2006"') from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # In whole numbers: a float of today's nanoseconds is off by some hundred.
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


class Written:
    """Turns lines into what is sent, and knows when that is enough."""

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._room = query.limit

    @property
    def is_full(self) -> bool:
        """Whether the limit of bytes is reached."""
        return self._room == 0

    def take(self, lines: Iterable[Line]) -> bytes:
        """Return what of some lines is to be sent."""
        return b"".join(map(self._take, lines))

    def _take(self, line: Line) -> bytes:
        """Return what of a line is to be sent; nothing of one that is too old."""
        if self._query.since is not None and line.moment < self._query.since:
            return b""
        text = _stamp(line.moment) + line.text if self._query.timestamps else line.text
        if self._room is not None:
            text = text[: self._room]
            self._room -= len(text)
        return text


def _stamp(moment: int) -> bytes:
    seconds, rest = divmod(moment, _NS)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{rest:09d}Z ".encode()
