"""An agent that says what a test wants: it finds its lines and marks in what it is sent."""

import re
from collections.abc import Iterator


class Scripted:
    """Reads what is sent to an agent; `say` makes the output for the next line."""

    def __init__(self) -> None:
        self._stream = b""
        self.end = self.mark = b""

    def lines(self, sent: bytes) -> Iterator[list[bytes]]:
        """Yield the words of each whole line (good enough for names without spaces)."""
        self._stream += sent
        if not self.end:
            found = re.search(rb"end=(\w+) mark=(\w+)\n.*kgpud-begin\n", self._stream, re.DOTALL)
            if found is None:
                return
            self.end, self.mark = found[1], found[2]
            self._stream = self._stream[found.end() :]
        while b"\n" in self._stream:
            line, _, rest = self._stream.partition(b"\n")
            words = line.split(b" ")
            size = int(words[2]) if words[0] == b"store" else 0
            if len(rest) < size:
                return
            self._stream = rest[size:]
            yield words

    def say(self, output: bytes = b"", code: int = 0, complaint: bytes = b"") -> bytes:
        return b"%s%s %d %s%s\n" % (output, self.end, code, complaint, self.end)

    def usual(self, words: list[bytes], number: int = 7) -> bytes:
        """What an agent says when all goes well."""
        if words[0] == b"open":
            return self.say(b"%d old\n" % number)
        if words[0] == b"hello":
            return self.say(b"0022\n")
        if words[0] == b"fetch":
            return self.say(bytes(32768 * int(words[3])))
        return self.say(b"81a4 5 0 0 1 2 1 root root\n")
