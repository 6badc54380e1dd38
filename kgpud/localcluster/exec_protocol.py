"""The sub-protocols of an exec: which one is spoken, and what its messages mean. Pure: no I/O.

Held against a recorded Kubernetes 1.36 with containerd 2.1; where a recording shows only what
happened, the reason is from their source.
"""

import base64
import binascii
import json
import math
from collections.abc import Sequence
from typing import NamedTuple

from kgpud.localcluster import exec_frames
from kgpud.localcluster.exec_frames import Batch

MESSAGE_BYTES = 32 * 1024  # the most output in one message
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
_CHANNELS = 5
_CLOSE_CHANNEL = 255
_ZERO = ord("0")
_MAX_SIZE = 0xFFFF


class Protocol(NamedTuple):
    """One sub-protocol; `name` is empty for a client that offered none.

    `translated`: the kubelet or the API server speaks it, and something else to the container
    runtime; the others are the runtime's own. `documents`: its end is told by a Status document,
    else by an error's message alone.
    """

    name: str
    translated: bool = False
    documents: bool = False
    base64: bool = False


V5 = Protocol("v5.channel.k8s.io", translated=True, documents=True)
_RUNTIMES = (
    Protocol("v4.channel.k8s.io", documents=True),
    Protocol("v4.base64.channel.k8s.io", documents=True, base64=True),
    Protocol("channel.k8s.io"),
    Protocol("base64.channel.k8s.io", base64=True),
    Protocol(""),
)


def choose(offered: Sequence[str]) -> Protocol | None:
    """Return v5 if it is offered, else the first known one; None if there is none."""
    if V5.name in offered:
        return V5
    known = {protocol.name: protocol for protocol in _RUNTIMES}
    return next((known[name] for name in offered or [""] if name in known), None)


class Stdin(NamedTuple):
    """Bytes for the command's stdin."""

    data: memoryview


class EndStdin(NamedTuple):
    """The end of stdin."""


class Resize(NamedTuple):
    """A new size of the terminal, in characters."""

    rows: int
    columns: int


class Stuck(NamedTuple):
    """From here on nothing of the client's is read: a known way to wedge a real stream."""


class Leave(NamedTuple):
    """The server ends the connection, as if the client had closed it."""


Action = Stdin | EndStdin | Resize | Stuck | Leave


class Talk:
    """One session's messages, both ways."""

    def __init__(self, protocol: Protocol, *, stdin: bool, tty: bool) -> None:
        self._protocol = protocol
        self._stdin = stdin
        # Without a tty nobody takes a size that was translated: the second one waits for ever.
        self._sizes = 1.0 if protocol.translated and not tty else math.inf

    def take(self, message: bytes | bytearray) -> Action | None:
        """Return what a message of the client's asks for; None is nothing."""
        if not message:
            return None
        channel = message[0]
        if self._protocol.translated and channel == _CLOSE_CHANNEL:
            return self._close(message)
        if self._protocol.base64:
            channel -= _ZERO
        if channel not in (STDIN, RESIZE) or (channel == STDIN and not self._stdin):
            return None
        data = self._decoded(message)
        if channel == RESIZE:
            return self._resize(bytes(data)) if data else None
        return Stdin(data)

    def _decoded(self, message: bytes | bytearray) -> memoryview:
        data = memoryview(message)[1:]
        if not self._protocol.base64:
            return data
        try:
            return memoryview(base64.b64decode(data, validate=True))
        except binascii.Error:
            return memoryview(b"")

    def _close(self, message: bytes | bytearray) -> Action | None:
        if len(message) != 2 or message[1] >= _CHANNELS:  # noqa: PLR2004  (255 and the channel)
            return Leave()
        return EndStdin() if message[1] == STDIN and self._stdin else None

    def _resize(self, body: bytes) -> Action | None:
        if self._sizes < 1:
            return Stuck()
        size = _size(body)
        self._sizes = 0 if size is None else self._sizes - 1
        return size if size and size.rows and size.columns else None

    def encode(self, channel: int, data: bytes | memoryview) -> bytes:
        """Return the frame that carries `data` to the client."""
        if self._protocol.base64:
            text = b"%d%s" % (channel, base64.b64encode(data))
            return exec_frames.encode(exec_frames.TEXT, text)
        return exec_frames.encode(exec_frames.BINARY, bytes((channel,)) + data)

    def frames(self, channel: int, batch: Batch, size: int) -> bytes | memoryview:
        """Return the frames that carry the `size` bytes in `batch`, valid until its next use."""
        if self._protocol.base64:
            return b"".join(self.encode(channel, data) for data in batch.payloads(size))
        return batch.framed(exec_frames.BINARY, channel, size)


def _size(body: bytes) -> Resize | None:
    """Read {"Width": columns, "Height": rows} in any case, as Go does; None is garbage."""
    try:
        given = {key.lower(): value for key, value in json.loads(body).items()}
    except (ValueError, AttributeError):
        return None
    size = Resize(given.get("height", 0), given.get("width", 0))
    numbers = all(type(one) is int and 0 <= one <= _MAX_SIZE for one in size)
    return size if numbers else None
