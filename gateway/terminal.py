"""A client's terminal as `stty` in the pod is told of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# RFC 4254, section 8: what each opcode is called by stty, GNU's and busybox's alike.
_CHARACTERS = {
    1: "intr",
    2: "quit",
    3: "erase",
    4: "kill",
    5: "eof",
    6: "eol",
    7: "eol2",
    8: "start",
    9: "stop",
    10: "susp",
    12: "rprnt",
    13: "werase",
    14: "lnext",
}
_FLAGS = {
    30: "ignpar",
    31: "parmrk",
    32: "inpck",
    33: "istrip",
    34: "inlcr",
    35: "igncr",
    36: "icrnl",
    37: "iuclc",
    38: "ixon",
    39: "ixany",
    40: "ixoff",
    41: "imaxbel",
    42: "iutf8",
    50: "isig",
    51: "icanon",
    52: "xcase",
    53: "echo",
    54: "echoe",
    55: "echok",
    56: "echonl",
    57: "noflsh",
    58: "tostop",
    59: "iexten",
    60: "echoctl",
    61: "echoke",
    70: "opost",
    71: "olcuc",
    72: "onlcr",
    73: "ocrnl",
    74: "onocr",
    75: "onlret",
}
# What Linux gives a new terminal (drivers/tty/tty_io.c, tty_std_termios); 0 is "no such character".
_NEW_CHARACTERS = {
    1: 3,
    2: 28,
    3: 127,
    4: 21,
    5: 4,
    6: 0,
    7: 0,
    8: 17,
    9: 19,
    10: 26,
    12: 18,
    13: 23,
    14: 22,
}
_NEW_FLAGS = frozenset({36, 38, 50, 51, 53, 54, 55, 59, 60, 61, 70, 72})
_UNDEFINED = 255
_MAX_SIDE = 0xFFFF  # struct winsize has 16 bits a side


@dataclass(frozen=True)
class Terminal:
    """A pty-req: its size in characters, and its modes by RFC 4254's opcodes."""

    columns: int = 0
    rows: int = 0
    modes: Mapping[int, int] = field(default_factory=dict)

    @property
    def size(self) -> str:
        """Return stty's arguments for the size; "" if the client has none."""
        if not 0 < self.columns <= _MAX_SIDE or not 0 < self.rows <= _MAX_SIDE:
            return ""
        return f"rows {self.rows} cols {self.columns}"

    @property
    def settings(self) -> str:
        """Return stty's arguments for what differs from a new terminal.

        Line speeds and character sizes are left out: they mean nothing to a pty.
        """
        return " ".join(filter(None, map(self._setting, sorted(self.modes))))

    def _setting(self, opcode: int) -> str:
        value = self.modes[opcode]
        if opcode in _FLAGS and bool(value) != (opcode in _NEW_FLAGS):
            return _FLAGS[opcode] if value else f"-{_FLAGS[opcode]}"
        if opcode in _CHARACTERS and value <= _UNDEFINED:
            value = 0 if value == _UNDEFINED else value
            if value != _NEW_CHARACTERS[opcode]:
                return f"{_CHARACTERS[opcode]} {_spell(value)}"
        return ""


def _spell(character: int) -> str:
    """Write a character so that no shell takes it for a pattern; stty reads one digit as itself."""
    if character == 0:
        return "undef"
    return f"^{chr(character + 64)}" if character < 10 else str(character)  # noqa: PLR2004
