"""Label and field selectors of list and watch requests."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kgpud.localcluster.errors import ApiError, bad_request

Test = Callable[[Mapping[str, Any]], bool]
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_EQUALITY = re.compile(rf"\s*(?P<name>{_NAME})\s*(?P<sign>==|=|!=)\s*(?P<value>{_VALUE})\s*")
_PRESENCE = re.compile(rf"\s*(?P<absent>!?)\s*(?P<name>{_NAME})\s*")
_SET = re.compile(rf"\s*(?P<name>{_NAME})\s+(?P<sign>in|notin)\s*\((?P<values>[^()]*)\)\s*")
_COMMA = re.compile(r",(?![^()]*\))")
_FIELD = re.compile(r"\s*([A-Za-z.]+)\s*(==|=|!=)\s*(.*?)\s*")
# The fields that every kind may be selected by.
_EVERYWHERE = ("metadata.name", "metadata.namespace")


def selector(labels: str, fields: str, known: Sequence[str] = ()) -> Test:
    """Return the test for both selectors; `known` are the kind's own fields.

    ApiError 400 for a bad selector or a field that can't be selected by.
    """
    tests = [_label_test(part) for part in _COMMA.split(labels) if labels.strip()]
    tests += [_field_test(part, known) for part in fields.split(",") if fields.strip()]
    return lambda document: all(test(document) for test in tests)


def _labels(document: Mapping[str, Any]) -> Mapping[str, str]:
    return document["metadata"].get("labels") or {}


def _label_test(part: str) -> Test:
    if matched := _EQUALITY.fullmatch(part):
        name, value, differs = matched["name"], matched["value"], matched["sign"] == "!="
        return lambda document: (_labels(document).get(name) == value) != differs
    if matched := _SET.fullmatch(part):
        name, differs = matched["name"], matched["sign"] == "notin"
        values = {value.strip() for value in matched["values"].split(",")}
        return lambda document: (_labels(document).get(name) in values) != differs
    if matched := _PRESENCE.fullmatch(part):
        name, absent = matched["name"], bool(matched["absent"])
        return lambda document: (name in _labels(document)) != absent
    raise _bad_label(part)


def _bad_label(part: str) -> ApiError:
    """Return the 400 in the words of Kubernetes' parser, as far as they go."""
    token = re.match(r"\s*(==|=|!=|[()<>,]|[^\s=!()<>,]+)?", part)
    found = token[1] if token and token[1] else ""
    if found and not re.fullmatch(_NAME, found):
        return bad_request(f"found '{found}', expected: !, identifier, or 'end of string'")
    return bad_request(f"unable to parse requirement: found '{part.strip()}'")


def _field_test(part: str, known: Sequence[str]) -> Test:
    matched = _FIELD.fullmatch(part)
    if matched is None:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    name, sign, wanted = matched[1], matched[2], matched[3]
    if name not in known and name not in _EVERYWHERE:
        raise bad_request(f"field label not supported: {name}")
    path = name.split(".")

    def differs(document: Mapping[str, Any]) -> bool:
        value: Any = document
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        return _shown(value) != wanted

    return differs if sign == "!=" else lambda document: not differs(document)


def _shown(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
