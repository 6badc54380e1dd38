"""Reading an object that was sent: its JSON, the types of its fields, and fields it must not have.

`schemas.json` lists every field of every type, made from the Kubernetes client's own models.
The words are those of the API server's decoder.
"""

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from typing import Any

from kgpud.localcluster import quantity

_RANGES = {"int32": 1 << 31, "int64": 1 << 63}
_ANYTHING = ("array", "bool", "number", "object", "string")
# What JSON may say for a type, where that is not text, and how Go calls the odd ones.
_JSON_NAMES = {
    "any": _ANYTHING,
    "bool": ("bool",),
    "float64": ("number",),
    "IntOrString": ("number", "string"),
}
_GO_TYPES = {"bytes": "[]uint8", "IntOrString": "int32", "Time": "string"}
_EMPTY: dict[str, Any] = {
    "bool": False,
    "bytes": "",
    "float64": 0,
    "int32": 0,
    "int64": 0,
    "IntOrString": 0,
    "Quantity": "0",
    "string": "",
    "Time": None,
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_QUANTITY_RULE = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)


class WrongType(ValueError):
    """A field's value is not of its type; the text is the decoder's."""


class _Object(dict[str, Any]):
    """A JSON object that remembers the names it had twice."""

    twice: tuple[str, ...] = ()


def parse(body: bytes) -> Any:  # noqa: ANN401  (any JSON)
    """Return the JSON of a request body. Raises ValueError, with the decoder's words."""
    try:
        return json.loads(body, object_pairs_hook=_object)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(_words(body, error)) from None


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        counts = Counter(name for name, _value in pairs)
        made.twice = tuple(name for name, count in counts.items() if count > 1)
    return made


def _words(body: bytes, error: Exception) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return "invalid JSON"
    if error.pos >= len(error.doc.rstrip()):
        return "unexpected end of JSON input"
    # An unfinished string is told by where it began.
    if error.msg.startswith("Unterminated string"):
        return "unexpected end of JSON input"
    if not body.strip():
        return "unexpected end of JSON input"
    return f"invalid character {error.doc[error.pos]!r} looking for beginning of value"


def unread(kind: str, document: dict[str, Any]) -> list[str]:
    """Check all types; return a line for each field that is unknown or was given twice.

    Raises WrongType for the first value that its field can't hold.
    """
    return list(_fields(kind, document, ""))


def _fields(name: str, value: dict[str, Any], where: str) -> Iterator[str]:
    known = _schemas()[name]
    for field in getattr(value, "twice", ()):
        yield f'duplicate field "{where}{field}"'
    for field, one in value.items():
        if field not in known:
            yield f'unknown field "{where}{field}"'
        elif one is not None:
            at = _Place(name, f"{where}{field}")
            yield from at.read(one, known[field], at.path)


class _Place:
    """One field of a struct: where a wrong value is said to be."""

    def __init__(self, struct: str, path: str) -> None:
        self.path = path
        # Go's decoder counts no list's items in the path of a wrong type.
        self._said = struct + "." + re.sub(r"\[\d+\]", "", path)

    def read(self, value: object, type_: str, path: str) -> Iterator[str]:
        """Check one value; `path` is the field's own, with the numbers of list items."""
        if type_.startswith(("[]", "map[string]")) or type_ in _schemas():
            wanted = list if type_.startswith("[]") else dict
            if not isinstance(value, wanted):
                raise self._wrong(value, type_)
        if isinstance(value, list) and type_.startswith("[]"):
            numbered = ((f"{path}[{number}]", one) for number, one in enumerate(value))
            yield from self._read_all(numbered, type_[2:])
        elif isinstance(value, dict) and type_.startswith("map[string]"):
            named = ((f"{path}.{name}", one) for name, one in value.items())
            yield from self._read_all(named, type_.removeprefix("map[string]"))
        elif isinstance(value, dict) and type_ in _schemas():
            yield from _fields(type_, value, f"{path}.")
        else:
            self._check(value, type_)

    def _read_all(self, values: Iterable[tuple[str, object]], type_: str) -> Iterator[str]:
        for path, one in values:
            if one is not None:
                yield from self.read(one, type_, path)

    def _check(self, value: object, type_: str) -> None:
        """Check a value that has no others in it."""
        if type_ == "Quantity":
            _check_quantity(value)
        elif type_ in _RANGES:
            most = _RANGES[type_]
            if not isinstance(value, int) or isinstance(value, bool) or not -most <= value < most:
                raise self._wrong(value, type_)
        elif _json_name(value) not in _JSON_NAMES.get(type_, ("string",)):
            raise self._wrong(value, _GO_TYPES.get(type_, type_))
        elif isinstance(value, str):
            _check_text(value, type_)

    def _wrong(self, value: object, type_: str) -> WrongType:
        found = _json_name(value)
        if type_ in _RANGES and found == "number":
            found = f"number {json.dumps(value)}"
        wanted = re.sub(r"([A-Z]\w*)$", r"v1.\1", type_)
        where = f"Go struct field {self._said} of type {wanted}"
        return WrongType(f"json: cannot unmarshal {found} into {where}")


def _json_name(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _check_quantity(value: object) -> None:
    try:
        quantity.thousandths(value)
    except ValueError:
        raise WrongType(_QUANTITY_RULE) from None


def _check_text(value: str, type_: str) -> None:
    if type_ == "bytes":
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise WrongType("illegal base64 data at input byte 0") from None
    elif type_ == "Time" and not _TIME.fullmatch(value):
        layout = "2006-01-02T15:04:05Z07:00"
        raise WrongType(f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"')


def known(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return an object as it is stored: without fields that its type lacks or that are null.

    A null in a list or a map is what Go makes of it: the type's empty value.
    """
    fields = _schemas()[kind]
    return {
        name: _known(fields[name], one)
        for name, one in value.items()
        if name in fields and one is not None
    }


def _known(type_: str, value: Any) -> Any:  # noqa: ANN401  (any JSON)
    if value is None:
        return _EMPTY.get(type_, [] if type_.startswith("[]") else {})
    if isinstance(value, list) and type_.startswith("[]"):
        return [_known(type_.removeprefix("[]"), one) for one in value]
    if isinstance(value, dict) and type_.startswith("map[string]"):
        return {key: _known(type_.removeprefix("map[string]"), one) for key, one in value.items()}
    return known(type_, value) if isinstance(value, dict) and type_ in _schemas() else value


@cache
def _schemas() -> dict[str, dict[str, str]]:
    text = resources.files("kgpud.localcluster").joinpath("schemas.json").read_text()
    loaded: dict[str, dict[str, str]] = json.loads(text)
    return loaded
