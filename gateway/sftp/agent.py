"""The agent's side of the talk: shell lines to it, and what comes back. Pure, no I/O.

The agent (`agent.sh`) is a POSIX shell in an image without sftp-server. It runs one line at a time,
in order, and says after each how it ended.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from gateway.sftp.packets import Status


def _text(name: str) -> bytes:
    lines = resources.files(__package__).joinpath(name).read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if line.strip() and not line.lstrip().startswith(b"#"))


_BOOTSTRAP = _text("bootstrap.sh")
_AGENT = _text("agent.sh")
# The bootstrap's first output where there is no sftp-server. An sftp-server's begins with a NUL.
NO_SERVER = b"kgpud: no sftp-server\n"
_DIGITS = 3


def bootstrap(servers: tuple[bytes, ...]) -> bytes:
    """Return the command that becomes the first of `servers` there is, else the agent's start.

    Whatever the user's shell is, sh runs it.
    """
    return b" ".join([b"exec sh -c", plain_quote(_BOOTSTRAP), b"sh", *map(plain_quote, servers)])


def plain_quote(word: bytes) -> bytes:
    """Quote a word for a shell."""
    return b"'" + word.replace(b"'", b"'\\''") + b"'"


def line(function: str, *words: bytes | int | str) -> bytes:
    """Return the line that calls one of the agent's functions; words may be any bytes but NUL."""
    spelt = [_quote(word) if isinstance(word, bytes) else str(word).encode() for word in words]
    return b" ".join([function.encode(), *spelt]) + b"\n"


def _quote(word: bytes) -> bytes:
    return plain_quote(word).replace(b"\n", b"'\"$nl\"'")


@dataclass(frozen=True)
class Ended:
    """How a line ended: its code, and the tool's complaint."""

    code: int
    complaint: bytes


class Broken(ValueError):
    """The agent said what it can't say: something else writes to its output."""


class Talk:
    """One agent's output, read back. `mark` stands before each record of a listing."""

    def __init__(self) -> None:
        self._end = secrets.token_hex(16).encode()
        self.mark = secrets.token_hex(16).encode()
        self._held = b""

    def start(self) -> bytes:
        """Return what makes an agent of the bootstrap, whatever it was sent before."""
        variables = b"end=%s mark=%s\n" % (self._end, self.mark)
        return b"\nkgpud-agent\n" + variables + _AGENT + b"kgpud-begin\n"

    def feed(self, data: bytes) -> Iterator[bytes | Ended]:
        """Yield output as it comes, and after it how its line ended. Raises Broken."""
        data, self._held = self._held + data, b""
        while data:
            at = data.find(self._end)
            if at < 0:
                at = _begin_of(self._end, data)
                self._held = data[at:]
                if at:
                    yield data[:at]
                return
            if at:
                yield data[:at]
            ending, data = self._ending(data[at:])
            if ending is None:
                self._held = data
                return
            yield ending

    def _ending(self, data: bytes) -> tuple[Ended | None, bytes]:
        """Split the ending off that `data` begins with, if it is whole."""
        size = len(self._end)
        close = data.find(self._end + b"\n", size)
        if close < 0:
            if len(data) > _MAX_ENDING:
                raise Broken("an ending without an end")
            return None, data
        code, _, complaint = data[size:close].lstrip().partition(b" ")
        if not code.isdigit() or len(code) > _DIGITS:
            raise Broken("an ending without a code")
        return Ended(int(code), complaint), data[close + size + 1 :]


# A complaint names paths, and each may have 4 KiB.
_MAX_ENDING = 64 * 1024
# dd says two of its records, before or after.
_MOST_LINES = 16


def _begin_of(mark: bytes, data: bytes) -> int:
    """Return where a mark may begin at the end of `data`, else its length."""
    at = data.find(mark[:1], max(0, len(data) - len(mark) + 1))
    while at >= 0 and not mark.startswith(data[at:]):
        at = data.find(mark[:1], at + 1)
    return len(data) if at < 0 else at


# strerror's words, glibc's and musl's, and what OpenSSH's sftp-server makes of such an errno.
_MEANINGS = {
    b"No such file or directory": Status.NO_SUCH_FILE,
    b"Not a directory": Status.NO_SUCH_FILE,
    b"Path has non-directory component": Status.NO_SUCH_FILE,  # busybox's mv
    b"Too many levels of symbolic links": Status.NO_SUCH_FILE,
    b"Symbolic link loop": Status.NO_SUCH_FILE,
    b"Permission denied": Status.PERMISSION_DENIED,
    b"Operation not permitted": Status.PERMISSION_DENIED,
    b"File name too long": Status.BAD_MESSAGE,
    b"Filename too long": Status.BAD_MESSAGE,
    b"Invalid argument": Status.BAD_MESSAGE,
    b"Function not implemented": Status.OP_UNSUPPORTED,
}


def explain(complaint: bytes) -> tuple[Status, str]:
    """Turn a tool's complaint into a status and a short message.

    The reason is what stands after the last colon of a line; names before it may hold anything.
    """
    told = complaint.splitlines()[:_MOST_LINES]
    lines = [text for text in told if text.strip() and b" records " not in text]
    reasons = [text.rpartition(b": ")[2].strip() for text in lines]
    for reason in reasons:
        if reason in _MEANINGS:
            return _MEANINGS[reason], reason.decode()
    return Status.FAILURE, reasons[0].decode(errors="replace") if reasons else ""
