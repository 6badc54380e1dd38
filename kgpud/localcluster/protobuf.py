r"""Reading the few requests that kubectl sends as protobuf alone, whatever it is offered.

A Kubernetes body is `k8s\0` and an envelope (runtime.Unknown) around the object's own message;
the numbers are those of the generated.proto files of k8s.io/api.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_RAW, _SPEC = 2, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 70


@dataclass(frozen=True)
class Message:
    """What the numbers of a message's fields mean: a name, and a message if it is not text."""

    fields: dict[int, tuple[str, "Message | None"]]


_RESOURCE = Message(
    {
        number: (name, None)
        for number, name in enumerate(
            ("namespace", "verb", "group", "version", "resource", "subresource", "name"), 1
        )
    }
)
_PATH = Message({1: ("path", None), 2: ("verb", None)})
ACCESS_REVIEW = Message({1: ("resourceAttributes", _RESOURCE), 2: ("nonResourceAttributes", _PATH)})
RULES_REVIEW = Message({1: ("namespace", None)})
TOKEN_REQUEST = Message({4: ("expirationSeconds", None)})


def read_spec(body: bytes, message: Message) -> dict[str, Any]:
    """Return the spec in a request's body, without empty fields. ValueError when it is none."""
    if not body.startswith(_MAGIC):
        raise ValueError("provided data does not appear to be a protobuf message")
    object_ = _bytes_of(body[len(_MAGIC) :], _RAW)
    return _read(_bytes_of(object_, _SPEC), message)


def _bytes_of(data: bytes, wanted: int) -> bytes:
    for number, value in _fields(data):
        if number == wanted and isinstance(value, bytes):
            return value
    return b""


def _read(data: bytes, message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        name, inner = message.fields.get(number, ("", None))
        if name and value and isinstance(value, int):
            found[name] = value
        elif name and value and isinstance(value, bytes):
            found[name] = _read(value, inner) if inner else value.decode()
    return found


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
