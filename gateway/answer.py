"""The API server's HTTP answer to an upgrade: its head, and a refusal's body. Pure, no I/O."""

import email.parser
import re
from email.message import Message

MAX_HEAD = MAX_BODY = 64 * 1024
_STATUS = re.compile(rb"HTTP/\S+ \d{3}")
_BAD_GATEWAY = 502  # what a proxy would make of an answer without a status


class Answer:
    """Takes an answer's bytes as they come. `status` is 0 while the head is not whole."""

    def __init__(self) -> None:
        self._received = bytearray()
        self.status = 0
        self.headers = Message()

    @property
    def too_long(self) -> bool:
        """Whether a head without an end is over the limit."""
        return not self.status and len(self._received) > MAX_HEAD

    @property
    def rest(self) -> bytes:
        """What came after the head."""
        return bytes(self._received)

    @property
    def whole(self) -> bool:
        """Whether the body has come, or as much of it as anybody wants to read."""
        if not self.status:
            return False
        length = self.headers.get("Content-Length", "")
        told = length.isdecimal() and len(length) < 10  # noqa: PLR2004 - more is nonsense
        wanted = min(int(length), MAX_BODY) if told else MAX_BODY
        return len(self._received) >= wanted or (
            self._chunked and self._received.endswith(b"0\r\n\r\n")
        )

    @property
    def body(self) -> str:
        """The body as far as it came."""
        data = _joined(self.rest) if self._chunked else self.rest
        return data[:MAX_BODY].decode(errors="replace").strip()

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._received += data
        if not self.status:
            head, end, rest = bytes(self._received).partition(b"\r\n\r\n")
            if end:
                self._take_head(head)
                self._received = bytearray(rest)

    def end(self) -> bool:
        """Take note that no more comes. Return whether this was an answer, its head cut or not."""
        if not self.status and _STATUS.match(self._received):
            self._take_head(bytes(self._received))
            self._received.clear()
        return self.status != 0

    @property
    def _chunked(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def _take_head(self, head: bytes) -> None:
        line, _, rest = head.partition(b"\r\n")
        words = line.split(b" ", 2)
        known = len(words) > 1 and words[1].isdigit() and len(words[1]) == 3  # noqa: PLR2004
        self.status = int(words[1]) if known else _BAD_GATEWAY
        self.headers = email.parser.BytesHeaderParser().parsebytes(rest)


def _joined(chunks: bytes) -> bytes:
    """Join the chunks of RFC 9112 section 7.1, as far as they came."""
    data = bytearray()
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        try:
            length = int(size.partition(b";")[0], 16)
        except ValueError:
            break
        data += chunks[:length]
        chunks = chunks[length + 2 :]
    return bytes(data)
