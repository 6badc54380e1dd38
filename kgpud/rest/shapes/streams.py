"""Answers without an end that is known: bytes as they come."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import ClassVar

from kgpud.rest.shapes.base import Answer


@dataclass(frozen=True)
class Stream:
    """Bytes that are sent as they come. When the client goes, `chunks` is closed.

    What can be refused is refused before the stream is returned. An exception in it afterwards
    breaks the connection off, so that a client can tell it from an end.
    """

    media_type: ClassVar[str]
    chunks: AsyncGenerator[bytes, None]


class TextStream(Stream):
    """Plain text, in whatever bytes it came."""

    media_type = "text/plain"


class EventStream(Stream):
    """Server-sent events, as `event` makes them."""

    media_type = "text/event-stream"


#: A comment, for a stream that has been silent for a while: proxies cut those.
HEARTBEAT = b": still here\n\n"


def event(kind: str, data: Answer, number: str | int) -> bytes:
    """Return one server-sent event; a client that comes back sends `number` as Last-Event-ID."""
    return f"event: {kind}\nid: {number}\ndata: {data.model_dump_json()}\n\n".encode()
