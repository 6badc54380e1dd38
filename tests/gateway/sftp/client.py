"""A client that says what it wants and no more: requests as they are, answers field by field.

It has its own codec, so that no bug is on both ends.
"""

import socket
import struct
from dataclasses import dataclass, field

OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT = range(3, 11)
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(11, 21)
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED, EXTENDED_REPLY = 200, 201
R, W, APPEND, CREAT, TRUNC, EXCL = 1, 2, 4, 8, 16, 32
OK, EOF, NO_SUCH_FILE, DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8

Field = bytes | int | tuple[int, ...] | dict[str, int]


def packet(kind: int, request_id: int, *fields: Field) -> bytes:
    """Build a request. An int is 32 bits, (n,) is 64 bits, bytes a string, a dict attributes."""
    body = struct.pack(">BI", kind, request_id) + b"".join(map(_field, fields))
    return struct.pack(">I", len(body)) + body


def _field(value: Field) -> bytes:
    if isinstance(value, bytes):
        return struct.pack(">I", len(value)) + value
    if isinstance(value, int):
        return struct.pack(">I", value)
    if isinstance(value, tuple):
        return struct.pack(">Q", *value)
    flags, body = 0, b""
    for flag, layout, names in (
        (1, ">Q", ("size",)),
        (2, ">II", ("uid", "gid")),
        (4, ">I", ("mode",)),
        (8, ">II", ("atime", "mtime")),
    ):
        if names[0] in value:
            flags |= flag
            body += struct.pack(layout, *(value[name] for name in names))
    return struct.pack(">I", flags) + body


@dataclass
class Answer:
    """What came back. `code` is a STATUS's; the other fields are the other kinds'."""

    kind: int
    code: int | None = None
    text: bytes = b""
    data: bytes = b""
    attributes: dict[str, int] = field(default_factory=dict)
    names: list[tuple[bytes, bytes, dict[str, int]]] = field(default_factory=list)


class _Fields:
    def __init__(self, data: bytes) -> None:
        self.left = data

    def number(self, size: int = 4) -> int:
        piece, self.left = self.left[:size], self.left[size:]
        assert len(piece) == size
        return int.from_bytes(piece, "big")

    def string(self) -> bytes:
        size = self.number()
        piece, self.left = self.left[:size], self.left[size:]
        assert len(piece) == size
        return piece

    def attributes(self) -> dict[str, int]:
        flags, found = self.number(), {}
        if flags & 1:
            found["size"] = self.number(8)
        for flag, names in ((2, ("uid", "gid")), (4, ("mode",)), (8, ("atime", "mtime"))):
            if flags & flag:
                found.update({name: self.number() for name in names})
        assert not flags & ~15
        return found


class Client:
    """Speaks to a server at the other end of a socket."""

    def __init__(self, sock: socket.socket, offers: int = 3) -> None:
        sock.settimeout(20)
        self._file = sock.makefile("rwb")
        self._next = 0
        self._answers: dict[int, Answer] = {}
        self._file.write(struct.pack(">IBI", 5, 1, offers))
        self._file.flush()
        fields = _Fields(self._packet())
        assert (fields.number(1), fields.number()) == (2, 3)
        self.extensions = {}
        while fields.left:
            name = fields.string()
            self.extensions[name] = fields.string()

    def close(self) -> None:
        self._file.close()

    def ask(self, kind: int, *fields: Field) -> Answer:
        return self.result(self.send(kind, *fields))

    def extended(self, name: bytes, *fields: Field) -> Answer:
        return self.ask(EXTENDED, name, *fields)

    def send(self, kind: int, *fields: Field) -> int:
        """Send a request; its answer is `result` of the id returned."""
        self._next += 1
        self._file.write(packet(kind, self._next, *fields))
        return self._next

    def result(self, request_id: int) -> Answer:
        self._file.flush()
        while request_id not in self._answers:
            fields = _Fields(self._packet())
            kind, answered = fields.number(1), fields.number()
            assert answered not in self._answers
            self._answers[answered] = _answer(kind, fields)
        return self._answers.pop(request_id)

    def _packet(self) -> bytes:
        size = int.from_bytes(self._file.read(4), "big")
        data = self._file.read(size)
        assert len(data) == size
        return data

    # What takes more than one request.

    def opened(self, path: bytes, flags: int, **attributes: int) -> bytes:
        answer = self.ask(OPEN, path, flags, attributes)
        assert answer.kind == HANDLE, answer
        return answer.data

    def put(self, path: bytes, content: bytes, flags: int = W | CREAT | TRUNC) -> None:
        handle = self.opened(path, flags)
        sent = [
            self.send(WRITE, handle, (at,), content[at : at + 32768])
            for at in range(0, len(content), 32768)
        ]
        assert {self.result(request).code for request in sent} <= {OK}
        assert self.ask(CLOSE, handle).code == OK

    def get(self, path: bytes) -> bytes:
        handle, content = self.opened(path, R), b""
        while (answer := self.ask(READ, handle, (len(content),), 32768)).kind == DATA:
            content += answer.data
        assert answer.code == EOF
        assert self.ask(CLOSE, handle).code == OK
        return content

    def list(self, path: bytes) -> Answer:
        """List a folder: a NAME answer with all of it, or the STATUS that refused it."""
        opened = self.ask(OPENDIR, path)
        if opened.kind == STATUS:
            return opened
        names = []
        while (answer := self.ask(READDIR, opened.data)).kind == NAME:
            names += answer.names
        assert answer.code == EOF
        assert self.ask(CLOSE, opened.data).code == OK
        return Answer(NAME, names=sorted(names))


def _answer(kind: int, fields: _Fields) -> Answer:
    answer = Answer(kind)
    if kind == STATUS:
        answer.code, answer.text = fields.number(), fields.string()
    elif kind in {HANDLE, DATA}:
        answer.data = fields.string()
    elif kind == ATTRS:
        answer.attributes = fields.attributes()
    elif kind == EXTENDED_REPLY:
        answer.data = fields.left
    else:
        assert kind == NAME
        for _ in range(fields.number()):
            answer.names.append((fields.string(), fields.string(), fields.attributes()))
    return answer
