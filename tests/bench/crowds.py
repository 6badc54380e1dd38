"""Many sessions at once, ours beside sshd's: how fair, how fast, how large; and one keystroke."""

import os
import pty
import statistics
import subprocess
import time
import tty
from contextlib import ExitStack
from typing import Self

from .figures import medians, tell
from .sides import Side

CROWD, PIECE = 50, 16 * 1024 * 1024
IDLE, COUNTED = 40, 50  # one key may open 100 connections
KEYS, KEY_ROUNDS = 100, 5


def crowd(ours: Side, theirs: Side) -> None:
    """Compare CROWD downloads at once: until the last has ended, and the first of them."""
    firsts: dict[int, list[float]] = {id(ours): [], id(theirs): []}

    def once(side: Side) -> float:
        argv = [*side.argv, f"head -c {PIECE} /dev/zero"]
        began = time.perf_counter()
        ends = []
        with ExitStack() as stack:
            running = []
            for _ in range(CROWD):
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
                running.append(stack.enter_context(process))
            while running:
                for process in [one for one in running if one.poll() is not None]:
                    assert process.returncode == 0
                    ends.append(time.perf_counter() - began)
                    running.remove(process)
                time.sleep(0.005)
        firsts[id(side)].append(ends[0] / ends[-1])
        return ends[-1]

    tell(
        f"{CROWD} times 16 MiB down at once",
        "s",
        *medians(lambda: once(ours), lambda: once(theirs), 3),
    )
    early = [statistics.median(firsts[id(side)]) for side in (ours, theirs)]
    tell("  the first's time / the last's", "", *early)


def idle(ours: Side, theirs: Side) -> None:
    """Compare what a session that does nothing takes of memory, on a connection of its own.

    The first ones find memory that others have left; they are not counted.
    """
    sizes = []
    for side in (ours, theirs):
        with ExitStack() as stack:
            before = 0
            for number in range(IDLE + COUNTED):
                if number == IDLE:
                    before = side.memory()
                argv = [*side.argv, "echo; exec sleep 1000"]
                pipe = subprocess.PIPE
                process = subprocess.Popen(argv, stdin=pipe, stdout=pipe)
                stack.enter_context(process)
                stack.callback(process.kill)
                assert process.stdout
                assert process.stdout.read(1)
            sizes.append((side.memory() - before) / COUNTED / 1024)
    tell("memory of one more idle session", "KiB", *sizes)


def keystrokes(ours: Side, theirs: Side) -> None:
    """Compare how long a character takes to come back from a terminal in the pod."""
    with ExitStack() as stack:
        typists = [stack.enter_context(Typist(side)) for side in (ours, theirs)]
        tell("a keystroke's echo", "ms", *medians(typists[0].echo, typists[1].echo, KEY_ROUNDS))


class Typist:
    """Somebody at a terminal of their own, in which `cat` runs at the other end."""

    def __init__(self, side: Side) -> None:
        self._terminal, theirs = pty.openpty()
        tty.setraw(theirs)
        argv = [
            side.argv[0],
            "-tt",
            *side.argv[1:],
            "stty sane -icanon; echo ready; exec cat >/dev/null",
        ]
        self._process = subprocess.Popen(argv, stdin=theirs, stdout=theirs)
        os.close(theirs)

    def __enter__(self) -> Self:
        said = b""
        while b"ready\r\n" not in said:
            said += os.read(self._terminal, 4096)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def echo(self) -> float:
        """Return the milliseconds of the median key."""
        taken = []
        for _ in range(KEYS):
            began = time.perf_counter()
            os.write(self._terminal, b"x")
            assert os.read(self._terminal, 1) == b"x"
            taken.append(time.perf_counter() - began)
        return statistics.median(taken) * 1000
