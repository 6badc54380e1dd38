"""What a client of an exec saw: read from a recording, or gathered from a session."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]

_NORMAL = (
    (rb"[0-9a-f]{64}", b"ID"),  # runc's name for the exec
    (rb"/dev/pts/\d+", b"/dev/pts/N"),
)


def normal(data: bytes) -> bytes:
    """Return output without the two names that differ from run to run."""
    for pattern, name in _NORMAL:
        data = bytes(re.sub(pattern, name, data))
    return data


@dataclass
class Account:
    """One session. The order between channels counts where it is certain: first and last."""

    answer: tuple[Any, ...] = ()
    opcodes: set[str] = field(default_factory=set)
    first: tuple[int, bytes] | None = None
    channels: dict[int, bytes] = field(default_factory=dict)
    status_is_last: bool = True
    pongs: list[bytes] = field(default_factory=list)
    still_open: list[bool] = field(default_factory=list)
    processes: list[list[str]] = field(default_factory=list)
    facts: list[Any] = field(default_factory=list)
    end: str = "open"

    def take(self, opcode: str, channel: int, data: bytes) -> None:
        self.opcodes.add(opcode)
        if self.first is None:
            self.first = (channel, data)
        self.status_is_last = channel in (3, 51) or 3 not in self.channels
        self.channels[channel] = self.channels.get(channel, b"") + data

    def normalised(self) -> "Account":
        self.channels = {channel: normal(data) for channel, data in self.channels.items()}
        return self

    def covers(self, expected: "Account") -> bool:
        """Whether everything that is expected by now has come."""
        if self.end != "open":
            return True
        sizes = {channel: len(normal(data)) for channel, data in expected.channels.items()}
        got = {channel: len(normal(data)) for channel, data in self.channels.items()}
        enough = all(got.get(channel, -1) >= size for channel, size in sizes.items())
        return enough and len(self.pongs) >= len(expected.pongs)


def refusal(status: int, headers: dict[str, str], body: bytes) -> tuple[Any, ...]:
    """Return what matters of an HTTP answer; `headers` with names in lower case."""
    kind = headers.get("content-type", "").split(";")[0] if body else ""
    text = body.decode()
    said = json.loads(text) if kind == "application/json" else text
    closes = headers.get("connection", "").lower() == "close"
    return status, kind, said, closes and not body


def upgrade(headers: dict[str, str]) -> tuple[Any, ...]:
    """Return what matters of a 101."""
    names = ("upgrade", "connection", "sec-websocket-protocol")
    return 101, *(headers.get(name) for name in names)


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def payload(row: Row) -> bytes:
    """Return the bytes after the channel of a recorded message."""
    if "text_head" in row:  # only ever one letter again and again
        return str(row["text_head"])[:1].encode() * (int(row["len"]) - 1)
    return str(row["text"]).encode()


def processes(lines: list[str], *, has_parent: bool) -> list[str]:
    """Return `ps` lines with their parents as `outside`, `init` or the place in the list."""
    split = [line.split(None, 3) for line in lines if line.strip()]
    known = {parts[0]: f"line {number}" for number, parts in enumerate(split)}
    known |= {"0": "outside", "1": "init"}
    told = []
    for parts in split:
        parent = known.get(parts[1], "another") if has_parent else "-"
        state = parts[2 if has_parent else 1].replace("R", "S").replace("N", "")  # N: we are nice
        told.append(f"{parent} {state} {parts[3]}")
    return told
