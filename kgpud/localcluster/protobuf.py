r"""Reading what kubectl sends as protobuf alone, whatever it is offered: creates and reviews.

A Kubernetes body is `k8s\0` and an envelope (runtime.Unknown) around the object's own message;
the numbers are those of the generated.proto files of k8s.io/api and k8s.io/apimachinery.
"""

import base64
import re
from collections.abc import Iterator
from typing import Any

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 70
# A field is `name`, then [] for a list or {} for a map of texts, then :Type where it isn't text.
_FIELD = re.compile(r"(?P<name>\w+)(?P<many>\[\]|\{\})?(:(?P<type>\w+))?")
_ROLE = {1: "metadata:ObjectMeta", 2: "rules[]:PolicyRule"}
_BINDING = {1: "metadata:ObjectMeta", 2: "subjects[]:Subject", 3: "roleRef:RoleRef"}
_TYPES: dict[str, dict[int, str]] = {
    "Unknown": {1: "typeMeta:TypeMeta", 2: "raw:bytes"},
    "TypeMeta": {1: "apiVersion", 2: "kind"},
    "ObjectMeta": {
        1: "name",
        2: "generateName",
        3: "namespace",
        11: "labels{}",
        12: "annotations{}",
        13: "ownerReferences[]:OwnerReference",
        14: "finalizers[]",
    },
    "OwnerReference": {1: "kind", 3: "name", 4: "uid", 5: "apiVersion", 6: "controller:bool"},
    "ConfigMap": {1: "metadata:ObjectMeta", 2: "data{}", 3: "binaryData{}:bytes"},
    "Namespace": {1: "metadata:ObjectMeta"},
    "Secret": {1: "metadata:ObjectMeta", 2: "data{}:bytes", 3: "type", 4: "stringData{}"},
    "ServiceAccount": {1: "metadata:ObjectMeta"},
    "Role": _ROLE,
    "ClusterRole": _ROLE,
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "PolicyRule": {
        1: "verbs[]",
        2: "apiGroups[]",
        3: "resources[]",
        4: "resourceNames[]",
        5: "nonResourceURLs[]",
    },
    "Subject": {1: "kind", 2: "apiGroup", 3: "name", 4: "namespace"},
    "RoleRef": {1: "apiGroup", 2: "kind", 3: "name"},
    "SelfSubjectReview": {1: "metadata:ObjectMeta"},
    "SelfSubjectAccessReview": {2: "spec:SelfSubjectAccessReviewSpec"},
    "SelfSubjectAccessReviewSpec": {
        1: "resourceAttributes:ResourceAttributes",
        2: "nonResourceAttributes:NonResourceAttributes",
    },
    "ResourceAttributes": {
        1: "namespace",
        2: "verb",
        3: "group",
        4: "version",
        5: "resource",
        6: "subresource",
        7: "name",
    },
    "NonResourceAttributes": {1: "path", 2: "verb"},
    "SelfSubjectRulesReview": {2: "spec:SelfSubjectRulesReviewSpec"},
    "SelfSubjectRulesReviewSpec": {1: "namespace"},
    "TokenRequest": {1: "metadata:ObjectMeta", 2: "spec:TokenRequestSpec"},
    "TokenRequestSpec": {1: "audiences[]", 4: "expirationSeconds:int"},
}


def read(body: bytes) -> dict[str, Any]:
    """Return the object in a request's body as its JSON. ValueError when there is none.

    Only the kinds that kubectl creates in this form are read; of them the fields it sets.
    """
    if not body.startswith(_MAGIC):
        raise ValueError("provided data does not appear to be a protobuf message")
    envelope = _message(body[len(_MAGIC) :], "Unknown")
    named = envelope.get("typeMeta", {})
    if named.get("kind") not in _TYPES:
        raise ValueError(f"a {named.get('kind')} is not read from protobuf here: send JSON")
    raw = base64.b64decode(envelope.get("raw", ""))
    return {**named, **_message(raw, named["kind"])}


def _message(data: bytes, type_: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        field = _FIELD.fullmatch(_TYPES[type_].get(number, ""))
        if field is None:
            continue
        name, inner = field["name"], field["type"] or "string"
        if field["many"] == "[]":
            found.setdefault(name, []).append(_value(value, inner))
        elif field["many"] == "{}":
            entry = dict(_fields(_plain(value)))
            key = _value(entry.get(1, b""), "string")
            found.setdefault(name, {})[key] = _value(entry.get(2, b""), inner)
        elif value:
            found[name] = _value(value, inner)
    return found


def _value(value: int | bytes, type_: str) -> Any:  # noqa: ANN401  (any JSON)
    if type_ in ("int", "bool"):
        if not isinstance(value, int):
            raise ValueError("the protobuf message is malformed")
        return value if type_ == "int" else bool(value)
    if type_ == "bytes":
        return base64.b64encode(_plain(value)).decode()
    return _plain(value).decode() if type_ == "string" else _message(_plain(value), type_)


def _plain(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("the protobuf message is malformed")  # noqa: TRY004
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield each field's number and value. ValueError for bytes that are no message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
        if size < 0 or at + size > len(data):
            raise ValueError("the protobuf message is cut short or malformed")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _LONGEST_VARINT, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:  # noqa: PLR2004  (the continuation bit)
            return value, at
    raise ValueError("the protobuf message is cut short or malformed")
