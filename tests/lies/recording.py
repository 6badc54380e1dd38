"""A recorded exec session as steps that both ends can take: the server plays them, a user acts.

What its client did that the engine never does is left out (a size without a terminal, text
frames, data after the end of stdin), so that both ends agree on what is to come.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.recorded import files

Row = dict[str, Any]

STDIN, STDOUT, STDERR, STATUS, SIZE = range(5)
END_OF_STDIN = b"\xff\0"
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
# A server that gets a longer message ends the stream instead of reading it.
_LONGEST_MESSAGE = 32 * 1024 * 1024 + 1


@dataclass(frozen=True)
class Upgrade:
    """The server switches protocols."""

    protocol: str


@dataclass(frozen=True)
class Refuse:
    """The server answers with this instead."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class Say:
    """The server sends a message: a channel byte and the rest."""

    message: bytes


@dataclass(frozen=True)
class Flood:
    """The server sends so much output, as fast as it is read."""

    size: int


@dataclass(frozen=True)
class Hear:
    """The client sends a message; stdin may come in several."""

    message: bytes


@dataclass(frozen=True)
class Deaf:
    """The client sends so much stdin and the server reads none of it."""

    size: int


@dataclass(frozen=True)
class Close:
    """The server sends a close frame."""

    code: int


@dataclass(frozen=True)
class Drop:
    """The server's side of TCP ends without a word."""


@dataclass(frozen=True)
class Left:
    """The client leaves."""


Step = Upgrade | Refuse | Say | Flood | Hear | Deaf | Close | Drop | Left
_LAST = (Refuse, Close, Drop, Left)


@dataclass(frozen=True)
class Recording:
    """One session of `files.names()`."""

    name: str

    @cached_property
    def rows(self) -> list[Row]:
        return files.rows(self.name)

    @cached_property
    def tty(self) -> bool:
        """Whether it is played at a terminal. (The engine asks for a terminal or for stderr.)"""
        return "tty=true" in self._path and "stderr=true" not in self._path

    @cached_property
    def steps(self) -> list[Step]:
        """What happens, in order, up to the first thing that ends it."""
        found: list[Step] = []
        stdin_open = True
        for step in self._all_steps():
            if isinstance(step, Hear):
                if not stdin_open and step.message[0] != SIZE:
                    continue
                if step.message == END_OF_STDIN:
                    stdin_open = False
            found.append(step)
            if isinstance(step, _LAST):
                break
        return found

    @property
    def status(self) -> Row | None:
        """The document on channel 3, if there is one (older sub-protocols send plain text)."""
        for step in self.steps:
            if isinstance(step, Say) and step.message.startswith(b"\3{"):
                document: Row = json.loads(step.message[1:])
                return document
        return None

    @property
    def exit_code(self) -> int | None:
        """The exit code that the document on channel 3 tells, if it tells one."""
        if self.status is None:
            return None
        if self.status["status"] == "Success":
            return 0
        causes = self.status.get("details", {}).get("causes", [])
        codes = [int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"]
        return codes[0] if codes else None

    def said(self, channel: int) -> bytes:
        """All that the server sent on a channel; a flood is NULs on stdout."""
        parts = []
        for step in self.steps:
            if isinstance(step, Say) and step.message[0] == channel:
                parts.append(step.message[1:])
            elif isinstance(step, Flood) and channel == STDOUT:
                parts.append(bytes(step.size))
        return b"".join(parts)

    @property
    def leaves(self) -> bool:
        """Whether its client left before the server ended it."""
        return isinstance(self.steps[-1], Left)

    @property
    def outlived(self) -> bool | None:
        """Whether the process was still there after its stream, if anybody looked."""
        for row in reversed(self.rows):
            seen = row.get("process", row.get("ps"))
            if seen is not None:
                return any(seen)
        return None

    @cached_property
    def _path(self) -> str:
        return next((str(row["path"]) for row in self.rows if row.get("ev") == "request"), "")

    @property
    def reads_late(self) -> bool:
        """Whether its client read nothing for a while."""
        return any(row.get("ev") == "after 5s without reading" for row in self.rows)

    @cached_property
    def _protocol(self) -> str:
        return next((str(row["negotiated"] or "") for row in self.rows if "negotiated" in row), "")

    def _all_steps(self) -> Iterator[Step]:
        if self.reads_late:  # its first rows were not written down
            yield Upgrade(V5 if self.name.endswith(".v5") else V4)
        for row in self.rows:
            if "ev" in row:
                yield from self._event(row)
            elif row.get("dir") == "<":
                yield from self._from_server(row)
            elif row.get("dir") == ">":
                yield from self._from_client(row)

    def _event(self, row: Row) -> Iterator[Step]:
        event = row["ev"]
        if event == "upgraded":
            yield Upgrade(self._protocol)
            yield from self._bulk_stdin()
        elif event == "same_request_read_by_hand":
            yield Refuse(row["status"], row["headers"], row["body"])
        elif event in ("tcp_rst", "tcp_fin", "close_frame", "after"):
            yield Left()

    def _bulk_stdin(self) -> Iterator[Step]:
        """Yield the stdin that was counted and not written down."""
        for row in self.rows:
            if "stdin_bytes_accepted" in row:
                yield Hear(bytes([STDIN]) + bytes(row["stdin_bytes_accepted"]))
            elif row.get("ev") == "sent stdin not read by process":
                yield Hear(bytes([STDIN]) + bytes(row["bytes"]))
            elif "bytes_queued" in row:
                yield Deaf(row["bytes_queued"])

    def _from_server(self, row: Row) -> Iterator[Step]:
        if row["op"] == "binary":
            if row["ch"] == STATUS and row["len"] > 1:
                yield from self._counted_output()
            yield Say(_whole(row, b"."))
        elif row["op"] == "close":
            yield Close(row["code"])
        elif row["op"] == "closed(EOF)":
            yield Drop()

    def _counted_output(self) -> Iterator[Step]:
        for row in self.rows:
            if row.get("ev") == "summary":
                size = row.get("bytes_payload")
                yield Flood(row["bytes"] - row["frames"] if size is None else size)

    def _from_client(self, row: Row) -> Iterator[Step]:
        if row.get("op") == "close":
            yield Left()
        elif row.get("op") == "binary" and row.get("ch") == STDIN:
            if row.get("message_len", 0) <= _LONGEST_MESSAGE:
                yield Hear(_whole(row, b"x"))
        elif row.get("ch") == SIZE and self.tty:
            size = _size(row["text"])
            if size:
                yield Hear(bytes([SIZE]) + size)
        elif row.get("ch") == 255 and row["text"] == "\0" and self._protocol == V5 and not self.tty:
            yield Hear(END_OF_STDIN)


def _whole(row: Row, filler: bytes) -> bytes:
    if "message_len" in row:
        return bytes(row["message_len"])
    text = str(row.get("text", row.get("text_head", ""))).encode()
    return bytes([row["ch"]]) + text.ljust(row["len"] - 1, filler)


def _size(text: str) -> bytes:
    """Spell a size as the engine does; b"" for one it does not send."""
    try:
        size = json.loads(text)
    except ValueError:
        return b""
    return json.dumps(size).encode() if size.get("Width") else b""
