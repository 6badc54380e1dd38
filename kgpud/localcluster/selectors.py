"""Label and field selectors of list and watch requests."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from kgpud.localcluster.errors import bad_request

Test = Callable[[Mapping[str, Any]], bool]
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_EQUALITY = re.compile(rf"\s*({_NAME})\s*(==|=|!=)\s*([-A-Za-z0-9_.]*)\s*")
_PRESENCE = re.compile(rf"\s*(!?)\s*({_NAME})\s*")
_SET = re.compile(rf"\s*({_NAME})\s+(in|notin)\s+\(([^()]*)\)\s*")
_COMMA = re.compile(r",(?![^()]*\))")


def selector(labels: str, fields: str) -> Test:
    """Return the test for both selectors; a bad one is a 400 ApiError."""
    tests = [_label_test(part) for part in _COMMA.split(labels) if labels]
    tests += [_field_test(part) for part in fields.split(",") if fields]
    return lambda document: all(test(document) for test in tests)


def _labels(document: Mapping[str, Any]) -> Mapping[str, str]:
    return document["metadata"].get("labels") or {}


def _label_test(part: str) -> Test:
    if matched := _EQUALITY.fullmatch(part):
        name, sign, value = matched[1], matched[3], matched[4]
        if sign == "!=":
            return lambda document: _labels(document).get(name) != value
        return lambda document: _labels(document).get(name) == value
    if matched := _SET.fullmatch(part):
        name, values = matched[1], {value.strip() for value in matched[4].split(",")}
        if matched[3] == "in":
            return lambda document: _labels(document).get(name) in values
        return lambda document: _labels(document).get(name) not in values
    if matched := _PRESENCE.fullmatch(part):
        name, absent = matched[2], matched[1] == "!"
        return lambda document: (name in _labels(document)) != absent
    start = re.match(r"\s*[=!]*", part)
    found = start[0].strip()[:2] if start else part
    raise bad_request(f"found '{found or part}', expected: !, identifier, or 'end of string'")


def _field_test(part: str) -> Test:
    matched = re.fullmatch(r"\s*([A-Za-z.]+)\s*(==|=|!=)\s*(.*?)\s*", part)
    if matched is None:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    path, wanted = matched[1].split("."), matched[3]

    def equal(document: Mapping[str, Any]) -> bool:
        value: Any = document
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return ("" if value is None else str(value)) == wanted

    return equal if matched[2] != "!=" else lambda document: not equal(document)
