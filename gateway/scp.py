"""The `scp -t` and `scp -f` that clients of the old protocol run on the server, recognised.

Such a command line is shell text. Only plain forms are taken: a simple command whose options are
known, with words that any shell splits alike. Everything else is the pod's own scp's business.
"""

import re
from dataclasses import dataclass
from typing import Literal

SCRIPT = "KGPU_SCP"

# No operator, comment, command substitution or newline: one simple command, whatever the shell.
_NAME = rb"\$(?:\{[A-Za-z_]\w*\}|[A-Za-z_]\w*)"
_PIECE = (
    rb"(?:[^\s\"'\\;|&<>()$`#\x00]|" + _NAME + rb"|'[^'\n\x00]*'|\\[^\n\x00]"
    rb'|"(?:[^"\\$`\n\x00]|\\[^\n\x00]|' + _NAME + rb')*")'
)
_WORD = re.compile(_PIECE + rb"(?:" + _PIECE + rb"|#)*")
_BLANK = re.compile(rb"[ \t]*")
_OPTIONS = re.compile(rb"-[rpvdqtf]+")
_PROGRAMS = (b"scp", b"/usr/bin/scp")


@dataclass(frozen=True)
class ScpCommand:
    """One end of a copy. `words` are the paths as the client wrote them, for the pod's shell.

    `role` is ``t`` (the pod takes) or ``f`` (the pod gives). `closed` says that ``--`` ended the
    options.
    """

    role: Literal["t", "f"]
    words: bytes
    recursive: bool = False
    preserve: bool = False
    directory: bool = False
    closed: bool = False

    def text(self) -> bytes:
        """Return the command line that runs the pod's side, given its script in `SCRIPT`."""
        flags = (b"r", self.recursive), (b"p", self.preserve), (b"g", self.closed)
        letters = b"".join(letter for letter, on in flags if on)
        return b'exec sh -c "$%s" x%s %s' % (SCRIPT.encode(), letters, self.words)


def recognise(command: bytes) -> ScpCommand | None:
    """Return what an exec request asks for if it is an scp that the engine can speak for."""
    words = _split(command)
    if not words or command[slice(*words[0])] not in _PROGRAMS:
        return None
    letters, closed = b"", False
    while len(words) > 1 and not closed:
        option = command[slice(*words[1])]
        if not option.startswith(b"-"):
            break
        closed = option == b"--"
        if not closed and not _OPTIONS.fullmatch(option):
            return None
        letters += option[1:]
        del words[1]
    return _scp(letters, command[words[1][0] :] if len(words) > 1 else b"", closed=closed)


def _scp(letters: bytes, words: bytes, *, closed: bool) -> ScpCommand | None:
    if not words or (b"t" in letters) == (b"f" in letters):
        return None
    return ScpCommand(
        "t" if b"t" in letters else "f",
        words,
        recursive=b"r" in letters,
        preserve=b"p" in letters,
        directory=b"d" in letters,
        closed=closed,
    )


def _split(command: bytes) -> list[tuple[int, int]] | None:
    """Return where the words of a simple command begin and end, or None if it is not one."""
    places, at = [], _blank(command, 0)
    while at < len(command):
        word = _WORD.match(command, at)
        if word is None:
            return None
        places.append(word.span())
        at = _blank(command, word.end())
        if at == word.end() and at < len(command):
            return None
    return places


def _blank(command: bytes, at: int) -> int:
    match = _BLANK.match(command, at)
    return match.end() if match else at
