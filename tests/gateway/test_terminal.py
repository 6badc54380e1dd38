"""A client's terminal modes, against what the pod's own stty makes of them on a real pty."""

import os
import pty
import shutil
import subprocess
import termios

import pytest

from gateway.terminal import Terminal

# The opcodes of RFC 4254, section 8, and where termios keeps what they stand for.
FLAGS = {
    30: (0, termios.IGNPAR),
    36: (0, termios.ICRNL),
    38: (0, termios.IXON),
    39: (0, termios.IXANY),
    50: (3, termios.ISIG),
    51: (3, termios.ICANON),
    53: (3, termios.ECHO),
    59: (3, termios.IEXTEN),
    70: (1, termios.OPOST),
    72: (1, termios.ONLCR),
}
CHARACTERS = {1: termios.VINTR, 3: termios.VERASE, 4: termios.VKILL, 5: termios.VEOF}


@pytest.fixture(params=["stty", "busybox"])
def stty(request: pytest.FixtureRequest) -> list[str]:
    path = shutil.which(request.param)
    assert path is not None
    return [path] if request.param == "stty" else [path, "stty"]


def applied(stty: list[str], terminal: Terminal) -> tuple[list[object], tuple[int, int]]:
    """Give a new pty to stty with what we tell it; return the pty's attributes and size."""
    ours, theirs = pty.openpty()
    try:
        words = [*terminal.size.split(), *terminal.settings.split()]
        if words:
            subprocess.run([*stty, *words], stdin=theirs, check=True)
        return termios.tcgetattr(theirs), os.get_terminal_size(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("on", [0, 1])
def test_every_flag_is_set_as_the_client_has_it(stty: list[str], on: int) -> None:
    attributes, _ = applied(stty, Terminal(modes=dict.fromkeys(FLAGS, on)))
    for opcode, (kind, bit) in FLAGS.items():
        word = attributes[kind]
        assert isinstance(word, int)
        assert bool(word & bit) == bool(on), opcode


@pytest.mark.parametrize("character", [1, 3, 9, 10, 27, 28, 42, 63, 92, 127, 200, 255])
def test_every_character_is_the_clients(stty: list[str], character: int) -> None:
    attributes, _ = applied(stty, Terminal(modes=dict.fromkeys(CHARACTERS, character)))
    wanted = b"\0" if character == 255 else bytes([character])
    found = attributes[6]
    assert isinstance(found, list)
    assert {found[place] for place in CHARACTERS.values()} == {wanted}


def test_the_size_is_the_clients(stty: list[str]) -> None:
    assert applied(stty, Terminal(132, 50))[1] == (132, 50)


def test_a_new_terminal_needs_no_settings() -> None:
    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    os.close(ours)
    os.close(theirs)
    modes = {op: int(bool(attributes[kind] & bit)) for op, (kind, bit) in FLAGS.items()}
    modes |= {op: attributes[6][place][0] for op, place in CHARACTERS.items()}
    assert Terminal(modes=modes).settings == ""


@pytest.mark.parametrize(
    "terminal",
    [
        Terminal(0, 24),
        Terminal(1 << 31, 1 << 31),
        Terminal(modes={128: 9600, 129: 9600, 0: 1, 200: 7}),
        Terminal(modes={1: 1 << 20, 3: 256}),
    ],
)
def test_what_means_nothing_is_left_out(terminal: Terminal) -> None:
    assert (terminal.size, terminal.settings) == ("", "")
