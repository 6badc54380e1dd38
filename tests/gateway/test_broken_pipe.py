"""Nobody reads stdout any more: who dies of it in real sessions, and who never notices."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import wrapper
from gateway.wrapper import Command, Kind

from .shells import Shell, Watched, swept

# Writes its own pid into a file of this name, then stays.
STAYING = "sh -c '{0}echo $$ >{1}; exec sleep 60'"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    processes = Watched(tmp_path)
    yield processes
    processes.end()


def test_who_has_the_pipe_dies_and_nobody_else(shell: Shell, watched: Watched) -> None:
    script = f"""
        {STAYING.format("", "writer")} &
        {STAYING.format("", "on_stderr")} 2>&1 >/dev/null &
        {STAYING.format("trap : PIPE; ", "handler")} &
        {STAYING.format('trap "" PIPE; ', "deaf")} &
        {STAYING.format('trap "" PIPE HUP; ', "deaf_to_both")} &
        {STAYING.format("", "elsewhere")} >/dev/null &
        {STAYING.format("", "to_stderr")} >&2 &
        {STAYING.format("", "upstream")} | sh -c 'echo $$ >downstream; exec cat' &
        wait"""
    nonce, pipe = wrapper.new_nonce(), subprocess.PIPE
    argv = wrapper.wrapped(Command(Kind.COMMAND, [script.encode()]), nonce)
    with swept(shell.start(argv, stdin=pipe, stdout=pipe, stderr=pipe)) as process:
        names = ["writer", "on_stderr", "handler", "deaf", "deaf_to_both", "elsewhere"]
        watched.expect(*names, "to_stderr", "upstream", "downstream")
        with swept(shell.start(wrapper.broken_pipe(nonce), stdout=pipe, stderr=pipe)) as told:
            assert (told.communicate(timeout=20), told.returncode) == ((b"", b""), 0)
        # The upstream has lost its reader, and will hear of it when it writes.
        assert watched.left("deaf_to_both", "elsewhere", "to_stderr", "upstream")
        # The wrapper itself lives, to tell how it ended.
        assert process.poll() is None
