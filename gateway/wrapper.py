"""What runs in the pod around every command, and how its trailer is read back.

The script stands in `wrapper.sh`; its trailer is ``<RS><nonce> <3 digits>``, written to stdout and,
without a tty, to stderr too, after everything the command itself wrote.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import resources

from gateway.terminal import Terminal

# Linux takes at most 128 KiB in one argument (MAX_ARG_STRLEN), its NUL included.
MAX_WORD = 128 * 1024 - 1

# What goes between the characters of a command's words, up to how many: a longer one is no mere
# name to look for, and all of it has to fit into a URL.
BETWEEN = "\x1f"
_NAMES = 1024

_CODE_DIGITS = 3
_NONCE_DIGITS = 32
# Four bytes of a trailer turn up in random output once in 2**32 messages.
_CHANCE = 3


class Kind(Enum):
    """How the words of a command are run."""

    ARGV = "argv"  # as they are, with the in-pod token left in the environment
    COMMAND = "command"  # one text for the user's shell, as sshd does with `ssh host TEXT`
    LOGIN = "login"  # the user's login shell


@dataclass(frozen=True)
class Command:
    """What is to run. `words` are raw bytes without NUL; `environment` is added to the pod's."""

    kind: Kind
    words: Sequence[bytes] = ()
    tty: bool = False
    terminal: Terminal = field(default_factory=Terminal)
    environment: Mapping[str, str] = field(default_factory=dict)


class CommandRefused(ValueError):
    """The command can't be handed over; the text says why."""


def script(name: str) -> str:
    """Return a script of this package without its comments."""
    lines = resources.files(__package__).joinpath(name).read_text().splitlines()
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))


WRAPPER = script("wrapper.sh")
HANGUP = script("leader.sh") + "\n" + script("hangup.sh")
SIGNAL = script("leader.sh") + "\n" + script("signal.sh")
BROKEN_PIPE = script("leader.sh") + "\n" + script("broken-pipe.sh")


def new_nonce(session: str = "") -> str:
    """Return the name of one exec: 32 hex digits that begin with its session's name, if it has one.

    The rest is random: 64 bits, or all 128.
    """
    return session + secrets.token_hex(_NONCE_DIGITS // 2)[len(session) :]


def wrapped(command: Command, nonce: str) -> list[str]:
    """Return the argv to ask the cluster for. Raises CommandRefused."""
    kind, words = command.kind.value, [_text(word) for word in command.words]
    if None in words:
        if command.kind is not Kind.COMMAND:
            raise CommandRefused("arguments must be UTF-8")
        kind, words = "octal", list(_octal(command.words[0]))
    terminal = command.terminal
    mode = ["tty", terminal.size, terminal.settings] if command.tty else ["pipe", "", ""]
    environment = [f"{name}={value}" for name, value in command.environment.items()]
    between, given = _apart([word for word in words if word is not None])
    return ["sh", "-c", WRAPPER, nonce, *mode, kind, between, *environment, "--", *given]


def hangup(nonce: str, *, tty: bool, grace_seconds: int, spare: bool = True) -> list[str]:
    """Return the argv that ends the command named by `nonce` as a client's leaving would.

    Without a tty it may spare nobody in the session, not even who ignores SIGHUP.
    """
    assert spare or not tty
    mode = "tty" if tty else "pipe" if spare else "all"
    return ["sh", "-c", HANGUP, "sh", *_halves(nonce), mode, str(grace_seconds)]


def hangup_of_lost(session: str, *, grace_seconds: int) -> list[str]:
    """Return the argv that ends a command of a session by name; its own words say if it has a tty.

    For whoever has the session's name alone, after the daemon that knew more has died.
    """
    return ["sh", "-c", HANGUP, "sh", *_halves(session), "lost", str(grace_seconds)]


def signal(nonce: str, name: str) -> list[str]:
    """Return the argv that gives the command named by `nonce` a signal, e.g. ``TERM``."""
    return ["sh", "-c", SIGNAL, "sh", *_halves(nonce), name]


def broken_pipe(nonce: str) -> list[str]:
    """Return the argv that gives SIGPIPE to whoever writes to the output of `nonce`'s command."""
    return ["sh", "-c", BROKEN_PIPE, "sh", *_halves(nonce)]


def _halves(nonce: str) -> tuple[str, str]:
    """Return the nonce as a script takes it that must not find itself by it."""
    half = len(nonce) // 2
    return nonce[half:], nonce[:half]


def _text(word: bytes) -> str | None:
    if b"\0" in word:
        raise CommandRefused("a command can't hold a NUL byte")
    if len(word) > MAX_WORD:
        raise CommandRefused("a command can't be longer than 128 KiB")
    try:
        return word.decode()
    except UnicodeDecodeError:
        return None


def _apart(words: list[str]) -> tuple[str, list[str]]:
    """Spell words so that no search for a process finds them; return what is between, and them."""
    whole = "".join(words)
    if len(whole) > _NAMES or not whole.isprintable():
        return "", words
    return BETWEEN, [BETWEEN.join(word) for word in words]


def _octal(word: bytes) -> list[str]:
    """Spell the bytes that CRI's UTF-8 strings can't carry as printf's octal escapes."""
    pieces = []
    for start in range(0, len(word), MAX_WORD // 5):
        piece = word[start : start + MAX_WORD // 5]
        pieces.append("".join(map(_spell, piece)))
    return pieces


def _spell(byte: int) -> str:
    plain = 0x20 <= byte < 0x7F and byte != ord("\\")  # noqa: PLR2004 - printable ASCII
    return chr(byte) if plain else f"\\0{byte:03o}"


class TrailerFilter:
    """Takes the trailer out of one output stream, wherever it stands and however it is split.

    Only bytes that could begin the trailer are held back. A binary protocol's answer may well end
    with one of them and its client wait for it, so the few that chance can produce are given up
    by `release` when nothing follows.
    """

    def __init__(self, nonce: str) -> None:
        self._mark = b"\x1e" + nonce.encode() + b" "
        self._size = len(self._mark) + _CODE_DIGITS
        self._held = b""
        self._released = b""
        self.code: int | None = None

    @property
    def may_release(self) -> bool:
        """Whether so little is held that it may be the command's own output."""
        return 0 < len(self._held) <= _CHANCE

    def feed(self, data: bytes) -> bytes:
        """Take output, return what of it is the command's own."""
        if self.code is not None:
            return data
        if not self._held and not self._released and b"\x1e" not in data:
            return data
        data, self._held = self._held + data, b""
        if self._released:
            return self._after_release(data)
        return self._take_out(data)

    def release(self) -> bytes:
        """Return what is held: nothing came after it, so it was hardly a trailer's beginning.

        Should the rest of a trailer come all the same, it is still recognised.
        """
        held, self._held = self._held, b""
        self._released += held
        return held

    def _after_release(self, data: bytes) -> bytes:
        whole = self._released + data
        if len(whole) < self._size and self._may_begin(whole):
            self._held = data
            return b""
        given, self._released = len(self._released), b""
        if self._is_trailer(whole[: self._size]):
            self.code = int(whole[len(self._mark) : self._size])
            return whole[self._size :]
        return self._take_out(whole[given:])

    def _take_out(self, data: bytes) -> bytes:
        at = data.find(self._mark)
        while at >= 0 and len(data) >= at + self._size:
            if self._is_trailer(data[at : at + self._size]):
                self.code = int(data[at + len(self._mark) : at + self._size])
                return data[:at] + data[at + self._size :]
            at = data.find(self._mark, at + 1)
        return self._hold_back(data)

    def _is_trailer(self, piece: bytes) -> bool:
        return piece.startswith(self._mark) and piece[len(self._mark) :].isdigit()

    def flush(self) -> bytes:
        """Return what was held back: at the end of the stream it was no trailer."""
        held, self._held = self._held, b""
        return held

    def _hold_back(self, data: bytes) -> bytes:
        at = data.find(b"\x1e", max(0, len(data) - self._size + 1))
        while at >= 0 and not self._may_begin(data[at:]):
            at = data.find(b"\x1e", at + 1)
        if at < 0:
            return data
        self._held = data[at:]
        return data[:at]

    def _may_begin(self, tail: bytes) -> bool:
        mark = self._mark
        if len(tail) <= len(mark):
            return mark.startswith(tail)
        return tail.startswith(mark) and tail[len(mark) :].isdigit()
