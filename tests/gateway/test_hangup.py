"""The hang-up in real sessions: who dies and who stays when the client goes."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway import wrapper
from gateway.wrapper import Command, Kind

from .shells import Shell, Terminal, Watched, found, swept, wait_for

# Writes its own pid into a file of this name, then stays.
STAYING = "sh -c 'echo $$ >{}; exec sleep 60'"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    processes = Watched(tmp_path)
    yield processes
    processes.end()


def hang_up(
    shell: Shell,
    nonce: str,
    *,
    tty: bool,
    grace: int = 0,
    spare: bool = True,
    word: bytes = b"ended",
) -> float:
    """Run the hang-up as the engine asks for it; return how long it took."""
    begun = time.monotonic()
    argv = wrapper.hangup(nonce, tty=tty, grace_seconds=grace, spare=spare)
    null = subprocess.DEVNULL
    pipe = subprocess.PIPE
    with swept(shell.start(argv, stdin=null, stdout=pipe, stderr=pipe)) as process:
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, word + b"\n", b"")
    return time.monotonic() - begun


def hang_up_lost(shell: Shell, session: str, word: bytes = b"ended") -> None:
    """Run the hang-up of a session by its name, as the next daemon asks for it."""
    argv = wrapper.hangup_of_lost(session, grace_seconds=0)
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    with swept(shell.start(argv, stdin=null, stdout=pipe, stderr=pipe)) as process:
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, word + b"\n", b"")


@contextmanager
def piped(shell: Shell, script: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a script under the wrapper with its stdin open, as a client without a tty has it."""
    nonce = wrapper.new_nonce()
    argv = wrapper.wrapped(Command(Kind.COMMAND, [script.encode()]), nonce)
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with swept(shell.start(argv, stdin=pipe, stdout=null, stderr=null)) as process:
        yield nonce, process


def test_without_a_tty_the_session_dies_but_for_what_was_detached(
    shell: Shell, watched: Watched
) -> None:
    script = f"""
        echo $$ >shell
        {STAYING.format("child")} &
        ( {STAYING.format("grandchild")} & )
        sh -c 'trap "" HUP; echo $$ >ignoring; exec sleep 60' &
        nohup {STAYING.format("nohup")} >/dev/null 2>&1 &
        setsid {STAYING.format("setsid")} &
        sh -c 'kill -STOP $$' & echo $! >stopped
        wait"""
    with piped(shell, script) as (nonce, process):
        watched.expect("shell", "child", "grandchild", "ignoring", "nohup", "setsid", "stopped")
        hang_up(shell, nonce, tty=False)
        process.wait(timeout=5)
        assert watched.left("ignoring", "nohup", "setsid")


def test_who_is_not_spared_dies_though_it_ignores_hangups(shell: Shell, watched: Watched) -> None:
    script = f"""
        echo $$ >shell
        sh -c 'trap "" HUP; echo $$ >ignoring; exec sleep 60' &
        nohup {STAYING.format("nohup")} >/dev/null 2>&1 &
        setsid {STAYING.format("setsid")} &
        trap "" HUP
        wait"""
    with piped(shell, script) as (nonce, process):
        watched.expect("shell", "ignoring", "nohup", "setsid")
        # The half of its name that a daemon tells the next one is enough.
        hang_up(shell, nonce[:16], tty=False, spare=False)
        process.wait(timeout=5)
        assert watched.left("setsid")


def test_who_catches_a_hangup_may_clean_up(tmp_path: Path, watched: Watched) -> None:
    shell = found("bash", tmp_path)
    script = "trap 'sleep 0.3; echo clean >cleaned; exit 3' HUP; echo $$ >shell; sleep 60 & wait"
    with piped(shell, script) as (nonce, process):
        watched.expect("shell")
        assert process.stdin
        process.stdin.close()  # as the runtime does when the stream goes
        hang_up(shell, nonce, tty=False, grace=5)
        assert process.wait(timeout=5) == 3
    assert (tmp_path / "cleaned").exists()


def test_the_wrapper_s_own_cat_costs_no_grace(shell: Shell, watched: Watched) -> None:
    script = "trap 'exit 3' HUP; echo $$ >shell; while :; do sleep 0.1; done"
    with piped(shell, script) as (nonce, process):
        watched.expect("shell")
        # Stdin stays open: the wrapper's cat comes up after the command's end.
        assert hang_up(shell, nonce, tty=False, grace=15) < 10
        assert process.wait(timeout=5) == 3


def test_a_wrapper_whose_output_nobody_takes_costs_no_grace(shell: Shell, watched: Watched) -> None:
    """As after a cut download: the pipe is full, so it can't write its trailer."""
    nonce = wrapper.new_nonce()
    argv = wrapper.wrapped(Command(Kind.COMMAND, [b"echo $$ >shell; exec cat /dev/zero"]), nonce)
    pipe = subprocess.PIPE
    with swept(shell.start(argv, stdin=pipe, stdout=pipe, stderr=pipe)) as process:
        watched.expect("shell")
        assert hang_up(shell, nonce, tty=False, grace=15) < 10
        process.wait(timeout=5)
        assert watched.left()


CATCHING = "trap 'echo caught' HUP; echo $$ >shell; while :; do sleep 0.1; done"


def test_who_catches_a_hangup_and_stays_is_killed_after_the_grace(
    tmp_path: Path, watched: Watched
) -> None:
    shell = found("dash", tmp_path)
    with piped(shell, CATCHING) as (nonce, process):
        watched.expect("shell")
        assert 1 <= hang_up(shell, nonce, tty=False, grace=1) < 20
        process.wait(timeout=5)
        assert watched.left()


def test_who_catches_a_hangup_at_a_terminal_is_killed_after_the_grace(
    tmp_path: Path, watched: Watched
) -> None:
    shell = found("busybox", tmp_path)
    with Terminal(shell, at_tty(CATCHING)) as terminal:
        watched.expect("shell")
        assert 1 <= hang_up(shell, terminal.nonce, tty=True, grace=1) < 20
        terminal.process.wait(timeout=5)
        assert watched.left()


def test_others_are_left_alone(shell: Shell, watched: Watched) -> None:
    script = "echo $$ >{0}; " + STAYING.format("{0}-child")
    names = ["one", "one-child", "two", "two-child"]
    with (
        piped(shell, script.format("one")) as (nonce, _),
        piped(shell, script.format("two")) as (other, bystander),
    ):
        watched.expect(*names)
        hang_up(shell, wrapper.new_nonce(), tty=False, word=b"gone")  # of a command that is over
        assert watched.left(*names)
        hang_up(shell, nonce, tty=False)
        assert watched.left("two", "two-child")
        assert bystander.poll() is None
        hang_up(shell, other, tty=False)
        bystander.wait(timeout=5)
        assert watched.left()


@pytest.mark.skipif(os.geteuid() != 0, reason="root's processes alone may become somebody else's")
@pytest.mark.parametrize("name", ["dash", "busybox"])  # bash tries for 15 s to begin a process
def test_where_there_is_no_room_for_another_process(name: str) -> None:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} on this machine")
    somebody: dict[str, Any] = {"user": 54321, "group": 54321, "extra_groups": []}
    script = b"trap : HUP; sleep 60 & echo; while :; do sleep 60; done"
    nonce = wrapper.new_nonce()
    argv = wrapper.wrapped(Command(Kind.COMMAND, [script]), nonce)
    start = {"executable": path, "cwd": "/", "stdout": subprocess.PIPE, **somebody}
    with swept(subprocess.Popen(argv, start_new_session=True, **start)) as command:
        assert command.stdout
        assert command.stdout.readline() == b"\n"
        full = ["prlimit", "--nproc=1", *([path, "sh"] if name == "busybox" else [path])]
        for words, said in (
            (["sh", "-c", "echo full; sleep 0; echo not"], b"full\n"),
            (wrapper.hangup(nonce, tty=False, grace_seconds=5), b"ended\n"),
        ):
            done = subprocess.run(
                [*full, *words[1:]], cwd="/", capture_output=True, timeout=20, **somebody
            )
            assert done.stdout == said
        assert command.wait(timeout=5) == -signal.SIGKILL
        assert command.stdout.read() == b""  # nobody has it open any more


def test_odd_process_names_confuse_nobody(tmp_path: Path, watched: Watched) -> None:
    shell = found("dash", tmp_path)
    names = ["a b", "S 1 1", ") S 1 1 1", "(x) (y", "a)b", "x) R 0 0 0 0 0", "a\nb) S 1 1"]
    script, expected = "", []
    for at, name in enumerate(names):
        (tmp_path / name).symlink_to("/usr/bin/sleep")
        script += f"./'{name}' 60 & echo $! >in{at}; "
        script += f"setsid sh -c \"echo \\$\\$ >out{at}; exec ./'{name}' 60\" & "
        expected += [f"in{at}", f"out{at}"]
    with piped(shell, script + "wait") as (nonce, process):
        watched.expect(*expected)
        for pid_file in expected:
            comm = Path(f"/proc/{(tmp_path / pid_file).read_text().strip()}/comm")
            wait_for(lambda comm=comm: comm.read_text().strip() in names)  # type: ignore[misc]
        hang_up(shell, nonce, tty=False)
        process.wait(timeout=5)
        assert watched.left(*expected[1::2])


def test_a_session_is_known_by_its_name_alone(shell: Shell, watched: Watched) -> None:
    """What has a terminal loses its foreground, what has none the whole session: as it says."""
    script = f"""
        echo $$ >{{0}}
        setsid {STAYING.format("{0}-setsid")} &
        sh -c 'trap "" HUP; echo $$ >{{0}}-ignoring; exec sleep 60' &
        {STAYING.format("{0}-child")} &
        wait"""
    names = [f"{kind}{what}" for kind in ("pipe", "tty") for what in ("", "-setsid", "-ignoring")]
    with (
        piped(shell, script.format("pipe")) as (nonce, process),
        Terminal(shell, at_tty(script.format("tty"))) as terminal,
    ):
        watched.expect(*names, "pipe-child", "tty-child")
        hang_up_lost(shell, wrapper.new_nonce()[:16], b"gone")
        hang_up_lost(shell, nonce[:16])
        process.wait(timeout=5)
        stay = ["pipe-setsid", "pipe-ignoring"]
        assert watched.left(*stay, *names[3:], "tty-child")
        hang_up_lost(shell, terminal.nonce[:16])
        terminal.process.wait(timeout=5)
        assert watched.left(*stay, "tty-setsid", "tty-ignoring")
        hang_up_lost(shell, terminal.nonce[:16], b"gone")


def at_tty(script: str) -> Command:
    return Command(Kind.COMMAND, [script.encode()], tty=True)


def test_with_a_tty_the_leader_and_the_foreground_die(shell: Shell, watched: Watched) -> None:
    """As a command: no job control, so that what it starts shares the foreground group."""
    script = f"""
        echo $$ >shell
        {STAYING.format("child")} &
        nohup {STAYING.format("nohup")} >/dev/null 2>&1 &
        setsid {STAYING.format("setsid")} &
        wait"""
    with Terminal(shell, at_tty(script)) as terminal:
        watched.expect("shell", "child", "nohup", "setsid")
        hang_up(shell, terminal.nonce, tty=True)
        terminal.process.wait(timeout=5)
        assert watched.left("nohup", "setsid")


def test_a_bash_at_a_terminal_hangs_its_jobs_up(tmp_path: Path, watched: Watched) -> None:
    shell = found("bash", tmp_path)
    command = Command(Kind.LOGIN, tty=True, environment={"TERM": "dumb"})
    with Terminal(shell, command) as terminal:
        for line in (
            "echo $$ >shell",
            STAYING.format("job") + " &",
            STAYING.format("disowned") + " & disown",
            f"nohup {STAYING.format('nohup')} >/dev/null 2>&1 &",
            f"setsid {STAYING.format('setsid')} &",
            "(" + STAYING.format("grandchild") + " &)",
            STAYING.format("front"),
        ):
            terminal.type(line + "\n")
        names = ["shell", "job", "disowned", "nohup", "setsid", "grandchild", "front"]
        watched.expect(*names)
        hang_up(shell, terminal.nonce, tty=True)
        terminal.process.wait(timeout=5)
        assert watched.left("disowned", "nohup", "setsid", "grandchild")


@pytest.mark.parametrize("name", ["dash", "busybox"])
def test_another_shell_at_a_terminal_leaves_its_jobs(
    tmp_path: Path, watched: Watched, name: str
) -> None:
    shell = found(name, tmp_path)
    with Terminal(shell, Command(Kind.LOGIN, tty=True)) as terminal:
        terminal.type("echo $$ >shell\n" + STAYING.format("job") + " &\n")
        terminal.type(STAYING.format("front") + "\n")
        watched.expect("shell", "job", "front")
        hang_up(shell, terminal.nonce, tty=True)
        terminal.process.wait(timeout=5)
        assert watched.left("job")


def test_a_stopped_foreground_of_a_terminal_dies(tmp_path: Path, watched: Watched) -> None:
    shell = found("bash", tmp_path)
    with Terminal(shell, at_tty("echo $$ >shell; kill -STOP $$; echo on")) as terminal:
        watched.expect("shell")
        stat = Path(f"/proc/{(tmp_path / 'shell').read_text().strip()}/stat")
        wait_for(lambda: ") T " in stat.read_text())
        hang_up(shell, terminal.nonce, tty=True)
        terminal.process.wait(timeout=5)
        assert watched.left()
