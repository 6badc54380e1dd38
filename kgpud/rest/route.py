"""One operation of the API: what serves it and what describes it are both made from this."""

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from kgpud.errors import Code
from kgpud.idempotency import HEADER
from kgpud.rest.auth import Access
from kgpud.rest.call import Call
from kgpud.rest.shapes.base import Answer, Body, Query
from kgpud.rest.shapes.pages import Page
from kgpud.rest.shapes.streams import Stream

Complete = Answer | Sequence[Answer] | Page[Any]
Handler = Callable[[Call[Any, Any]], Awaitable[Complete | Stream]]


@dataclass(frozen=True)
class Parameter:
    """A parameter of paths, or a request header: what it must match in full, and what it is.

    `noun` is what it is in a sentence: a ``pod``, or ``one to 255 visible characters``. A page
    with calls to try fills an `example` in: a header, which nobody thinks of, has none.
    """

    name: str
    pattern: str
    noun: str
    about: str
    example: str = ""

    @cached_property
    def fits(self) -> Callable[[str], object]:
        """What tells whether a value is one: it returns nothing for others."""
        return re.compile(self.pattern).fullmatch


PATH_PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "pod_id",
            "[a-z0-9-]{1,100}",
            "pod",
            "The rental's id, as `POST /pods` returned it.",
            "gpu-rent-1779745883-ab12cd",
        ),
        Parameter(
            "object_id",
            "obj_[0-9a-f]{24}",
            "object",
            "The object's id, as `POST /objects` returned it.",
            "obj_8a1f09c2d44be7f35e60a1b2",
        ),
        Parameter(
            "user",
            r"[!-.0-~]{1,320}",
            "account",
            "The account's id or its e-mail address.",
            "ada@example.org",
        ),
        # The dashboard's alone.
        Parameter("secret", "[A-Za-z0-9_-]{1,100}", "sign-in link", "What a sign-in link holds."),
    )
}


IDEMPOTENCY_KEY = Parameter(
    HEADER,
    "[!-~]{1,255}",
    "one to 255 visible ASCII characters",
    "Makes it safe to send the request again: for 24 hours, the same key with the same body is"
    " answered as it was the first time, less what is shown only once, and nothing is done twice."
    " An error is not kept.",
)


@dataclass(frozen=True)
class Route:
    """One operation.

    `errors` are those that it alone knows of: what follows from its access, its path, its query
    and its body is added to them. A `long` one ends when its client goes or may not call any more;
    one that reads ends with its client anyway. A `steady` one is answered from the store, the
    cluster as last seen and the clock's second alone: see `kgpud.rest.steady`.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    errors: tuple[Code, ...] = ()
    headers: tuple[Parameter, ...] = ()
    long: bool = False
    steady: bool = False

    @property
    def operation_id(self) -> str:
        """The name of the operation in clients that are generated: its handler's."""
        return self.handler.__name__

    @property
    def about(self) -> str:
        """What the operation does: its handler's docstring."""
        return inspect.getdoc(self.handler) or ""

    @cached_property
    def body(self) -> type[Body] | None:
        """The body's model, None for a call without one."""
        found = self._call[0] if self._call else None
        return found if inspect.isclass(found) and issubclass(found, Body) else None

    @cached_property
    def query(self) -> type[Query]:
        """The query's model."""
        found = self._call[1] if len(self._call) > 1 else None
        return found if inspect.isclass(found) and issubclass(found, Query) else Query

    @cached_property
    def no_query(self) -> Query:
        """What a call without a query asks for."""
        return self.query()

    @cached_property
    def answer(self) -> Any:  # noqa: ANN401 - a type, or a generic or a union of them
        """The type of the answer, as the handler declares it."""
        return get_type_hints(self.handler)["return"]

    @cached_property
    def answers(self) -> tuple[Any, ...]:
        """What the operation answers with: that one type, or those of a union."""
        union = get_origin(self.answer) in (Union, UnionType)
        return get_args(self.answer) if union else (self.answer,)

    @cached_property
    def streams(self) -> bool:
        """Whether every answer is a stream."""
        return all(issubclass(get_origin(one) or one, Stream) for one in self.answers)

    @cached_property
    def _call(self) -> tuple[Any, ...]:
        call = next(iter(get_type_hints(self.handler).values()))
        return get_args(call)
