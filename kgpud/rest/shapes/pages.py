"""Lists in pages, newest first: a limit, and a cursor that the `Link` header carries.

A cursor is the position of the last line that was shown, not a count of lines: what is added or
removed meanwhile neither repeats nor skips one.
"""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from kgpud.rest.shapes.base import WHOLE, Answer, Query, refused

A = TypeVar("A", bound=Answer)
Row = TypeVar("Row")

#: Where a line stands in its list: a number, as a rule its time in ms, and what tells lines of
#: the same number apart.
Position = tuple[int, str]


@dataclass(frozen=True)
class Page(Generic[A]):
    """Some lines of a list; `rest` is the cursor of those that follow, None at the end."""

    lines: Sequence[A]
    rest: str | None


def _position(value: Any) -> Position:  # noqa: ANN401 - what a query held
    try:
        number, name = json.loads(base64.urlsafe_b64decode(value.encode("ascii") + b"=="))
        number.to_bytes(8, signed=True)
        name.encode()
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise refused("is not a cursor of ours; take it from the Link header") from None
    return number, name


def _cursor(position: Position) -> str:
    text = json.dumps(position, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


class PageQuery(Query):
    """The parameters of every list."""

    limit: Annotated[int, Field(ge=1, le=500), WHOLE] = 100
    """How many lines at most."""
    cursor: Annotated[
        Position | None,
        BeforeValidator(_position),
        WithJsonSchema({"type": "string", "maxLength": 300}),
    ] = None
    """Where the page before ended; take it from that answer's Link header."""


def page(
    rows: Sequence[Row],
    limit: int,
    position: Callable[[Row], Position],
    show: Callable[[Row], A],
) -> Page[A]:
    """Return the first `limit` rows as a page. Read one row more, so that it knows of a rest."""
    shown = rows[:limit]
    rest = _cursor(position(shown[-1])) if len(rows) > limit else None
    return Page([show(row) for row in shown], rest)
