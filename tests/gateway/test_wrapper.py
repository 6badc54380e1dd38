"""The wrapper under the shells that images have: whatever the command does, its code is told."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from gateway import wrapper
from gateway.wrapper import Command, CommandRefused, Kind
from kgpud.localcluster import bwrap

from .shells import Shell, Terminal, run, swept, wait_for, without_trailer


def text(command: str | bytes) -> Command:
    word = command.encode() if isinstance(command, str) else command
    return Command(Kind.COMMAND, [word])


@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        ("exit 0", 0, b"", b""),
        ("echo out; echo err >&2; exit 7", 7, b"out\n", b"err\n"),
        ("exit 255", 255, b"", b""),
        ("printf 'no newline'", 0, b"no newline", b""),
        ("nosuchcommand 2>/dev/null", 127, b"", b""),
        ("/etc/passwd 2>/dev/null", 126, b"", b""),
        ("exec printf replaced", 0, b"replaced", b""),
        ("exec >&- 2>&-; exit 5", 5, b"", b""),
        ("echo a; exec >/dev/null 2>&1; echo b; exit 6", 6, b"a\n", b""),
        ("exec <&-; exit 8", 8, b"", b""),
        ("false; true", 0, b"", b""),
        ("set -e; false; true", 1, b"", b""),
        ("echo \"$0|$#|$*\" | sed 's,.*/,,'", 0, b"sh|0|\n", b""),
        ("printf '%s\\n' \"a  b\" '$HOME' \\* \"it's\"", 0, b"a  b\n$HOME\n*\nit's\n", b""),
        ("printf 'line one\\n%s' 'line\ntwo'\n# the end", 0, b"line one\nline\ntwo", b""),
        ("cat", 0, b"from stdin", b""),
        ("head -c 4; exit 3", 3, b"from", b""),
        ("exec 3>&-; exec 4>&-; exit 9", 9, b"", b""),
        ("trap", 0, b"", b""),
        ("echo late | { sleep 0.1; cat; }", 0, b"late\n", b""),
        ("pwd | grep -c .", 0, b"1\n", b""),
    ],
)
def test_a_command_is_as_under_sshd(
    shell: Shell, command: str, code: int, out: bytes, err: bytes
) -> None:
    ran = run(shell, text(command), stdin=b"from stdin")
    assert ran.codes == {code}
    assert (ran.out, ran.err) == (out, err)


def test_no_descriptor_leaks_into_the_command(shell: Shell) -> None:
    told = "for fd in /proc/self/fd/*; do readlink $fd; done | grep -c pipe:"
    assert run(shell, text(told)).out == b"3\n"
    held = run(shell, text("for fd in 3 4; do ls /proc/$$/fd/$fd 2>/dev/null; done; true"))
    assert held.out == b""


@pytest.mark.parametrize("name", ["HUP", "INT", "PIPE", "TERM", "KILL", "USR1", "SEGV"])
def test_a_command_that_dies_of_a_signal(shell: Shell, name: str) -> None:
    code = 128 + signal.Signals[f"SIG{name}"]
    ran = run(shell, text(f"ulimit -c 0; echo before; kill -{name} $$; echo after"))
    assert ran.codes == {code}
    assert (ran.out, ran.err) == (b"before\n", b"")


@pytest.mark.parametrize("name", ["HUP", "INT", "PIPE", "TERM"])  # bash ignores QUIT anyway
def test_a_command_that_ends_its_group(shell: Shell, name: str) -> None:
    ran = run(shell, text(f"kill -{name} 0; sleep 5; exit 3"))
    assert ran.codes == {128 + signal.Signals[f"SIG{name}"]}


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "PIPE", "TERM"])
def test_a_command_that_signals_its_group(shell: Shell, name: str) -> None:
    ran = run(shell, text(f"trap 'echo caught; exit 4' {name}; kill -{name} 0; exit 3"))
    assert ran.codes == {4}
    assert ran.out == b"caught\n"


def test_a_command_that_kills_the_wrapper(shell: Shell) -> None:
    ran = run(shell, text("kill -9 $PPID; echo on its own"))
    assert (ran.exit_code, ran.out_trailer, ran.err_trailer) == (137, None, None)
    assert ran.out == b"on its own\n"


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "PIPE", "TERM"])
def test_a_signal_to_the_wrapper_alone_changes_nothing(shell: Shell, name: str) -> None:
    assert run(shell, text(f"kill -{name} $PPID; sleep 0.05; exit 6")).codes == {6}


def test_a_background_job_may_write_after_the_end(shell: Shell) -> None:
    ran = run(shell, text("{ sleep 0.3; echo late; echo later >&2; } & echo early; exit 2"))
    assert ran.codes == {2}
    assert (ran.out, ran.err) == (b"early\nlate\n", b"later\n")


RAW = bytes(range(1, 256))


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_raw_bytes_reach_the_command(shell: Shell, locale: str) -> None:
    quoted = RAW.replace(b"'", b"'\\''")
    command = b"printf %s '" + quoted + b"'; printf '\xff\n\n'"
    ran = run(shell, text(command), environment={"LC_ALL": locale})
    assert (ran.codes, ran.out) == ({0}, RAW + b"\xff\n\n")


@pytest.mark.parametrize(
    "filling",
    [b"x", "ü€𝄞".encode(), b"\xff", b"\\", b"%s\\c\\0101", bytes([0x81, 0x88, 0xE2]), b"\n"],
)
def test_a_hundred_thousand_bytes_reach_the_command(shell: Shell, filling: bytes) -> None:
    count = 100_000 // len(filling)
    command = b"cat <<'E' | wc -c\n" + filling * count + b"\nE\n"
    ran = run(shell, text(command + b"# \xfe"))
    assert (ran.codes, ran.out.strip()) == ({0}, b"%d" % (count * len(filling) + 1))


def test_the_longest_command(shell: Shell) -> None:
    command = b"exit 5 #" + b"\xff" * (wrapper.MAX_WORD - 8)
    assert run(shell, text(command)).codes == {5}
    command = b"exit 6 #" + b"x" * (wrapper.MAX_WORD - 8)
    assert run(shell, text(command)).codes == {6}
    with pytest.raises(CommandRefused, match="128 KiB"):
        wrapper.wrapped(text(command + b"x"), "n")


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (Command(Kind.COMMAND, [b"a\0b"]), "NUL"),
        (Command(Kind.ARGV, [b"a", b"\0"]), "NUL"),
        (Command(Kind.ARGV, [b"a", b"\xff"]), "UTF-8"),
    ],
)
def test_what_cannot_be_handed_over_is_refused(command: Command, word: str) -> None:
    with pytest.raises(CommandRefused, match=word):
        wrapper.wrapped(command, wrapper.new_nonce())


def test_everything_sent_is_utf8_without_nul() -> None:
    for word in wrapper.wrapped(text(RAW * 100), wrapper.new_nonce()):
        assert len(word.encode()) <= wrapper.MAX_WORD
        assert "\0" not in word


@pytest.mark.parametrize(
    ("words", "code", "out"),
    [
        ([b"printf", b"%s|", b"", b"a b", b"$HOME", b"'", "ü".encode(), b"--", b"a\nb"], 0, None),
        ([b"printf", b"%s|", b"", b" a  b ", b"*", b"~\\", "ü€𝄞".encode(), b"-n", b""], 0, None),
        ([b"sh", b"-c", b"exit 3"], 3, b""),
        ([b"kgpu-no-such-program"], 127, b""),
        ([b"/etc/passwd"], 126, b""),
        ([b"/"], 126, b""),
    ],
)
def test_an_argv_is_run_as_it_is(
    shell: Shell, words: list[bytes], code: int, out: bytes | None
) -> None:
    ran = run(shell, Command(Kind.ARGV, words))
    assert ran.codes == {code}
    assert ran.out == (b"".join(word + b"|" for word in words[2:]) if out is None else out)
    assert bool(ran.err) == (code > 3)


@pytest.mark.parametrize("program", [b"pgrep", b"pkill -9"])
def test_who_looks_for_a_process_does_not_find_itself(shell: Shell, program: bytes) -> None:
    words = [*program.split(), b"-f", b"train-[a-z]*-kgpu|no-such-job"]
    assert run(shell, Command(Kind.ARGV, words)).codes == {1}


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (text('echo "${KGPU_API_TOKEN-unset}"'), b"unset\n"),
        (text(b'echo "${KGPU_API_TOKEN-unset}" # \xff'), b"unset\n"),
        (Command(Kind.LOGIN), b"unset\n"),
        (Command(Kind.ARGV, [b"sh", b"-c", b'echo "$KGPU_API_TOKEN"']), b"kgpu_secret\n"),
    ],
)
def test_only_an_argv_keeps_the_in_pod_token(shell: Shell, command: Command, out: bytes) -> None:
    ran = run(shell, command, stdin=b'echo "${KGPU_API_TOKEN-unset}"\n')
    assert (ran.codes, ran.out) == ({0}, out)


@pytest.mark.parametrize("value", ["", "xterm", "a b  c", "--", "=", "$(id)", "l1\nl2", "ü'\"\\"])
def test_the_environment_is_passed(shell: Shell, value: str) -> None:
    command = Command(
        Kind.COMMAND,
        [b'printf "%s|%s|%s" "$LC_X" "$TERM" "$#"'],
        environment={"LC_X": value, "TERM": "vt100"},
    )
    ran = run(shell, command)
    assert (ran.codes, ran.out) == ({0}, f"{value}|vt100|0".encode())


def test_the_pod_s_environment_is_left_as_it_is(shell: Shell) -> None:
    mine = {name: f"my {name}" for name in ("tty", "kind", "shell", "text", "word", "code")}
    told = "printf '%s|' " + " ".join(f'"${name}"' for name in mine)
    ran = run(shell, text(told), environment=mine)
    assert ran.out == b"".join(f"{value}|".encode() for value in mine.values())


def test_who_one_is_and_in_what_shell_is_told_as_by_sshd(shell: Shell) -> None:
    told = 'printf "%s|" "$SHELL" "$USER" "$LOGNAME" "${SHLVL-}" "$(id -un)" "$0"'
    given = run(shell, text(told), environment={"USER": "ada", "SHLVL": "3"})
    *shown, me, argv0 = given.out.decode().split("|")[:-1]
    assert shown[:3] == [argv0, "ada", "ada"]
    assert shown[3] in {"", "1"}  # bash counts, and this is the first one
    own = run(shell, text(told)).out.decode().split("|")
    assert own[1:3] == [me, me]
    assert run(shell, Command(Kind.ARGV, [b"sh", b"-c", b"echo ${USER-}"])).out == b"\n"


def test_where_we_came_from_is_not_told(shell: Shell) -> None:
    assert run(shell, text("env | grep OLDPWD")).out == b""


def test_a_login_shell_ends_with_its_own_code(shell: Shell) -> None:
    ran = run(shell, Command(Kind.LOGIN), stdin=b"echo hi\nexit 3\n")
    assert (ran.codes, ran.out) == ({3}, b"hi\n")
    assert run(shell, Command(Kind.LOGIN)).codes == {0}


def test_a_shell_is_found_where_the_image_names_none(shell: Shell) -> None:
    ran = run(shell, text("echo $0"), environment={"SHELL": "/no/such/shell"})
    assert ran.codes == {0}
    assert ran.out.strip() in {b"/bin/bash", b"/usr/bin/bash", b"/usr/local/bin/bash", b"/bin/sh"}


def test_a_shell_is_found_where_the_image_keeps_it_elsewhere(tmp_path: Path) -> None:
    """As images for debugging do, which have no more than /busybox."""
    image = [str(bwrap.find(tmp_path)), "--ro-bind", "/bin/busybox", "/busybox/sh"]
    image += ["--proc", "/proc", "--dev", "/dev", "--clearenv", "--setenv", "PATH", "/busybox"]
    nonce = wrapper.new_nonce()
    argv = wrapper.wrapped(text("echo in; exit 7"), nonce)
    done = subprocess.run([*image, *argv], capture_output=True, timeout=20)
    assert done.returncode == 7, done.stderr
    assert without_trailer(done.stdout, nonce) == (b"in\n", 7)


def test_a_command_starts_at_home_without_a_workspace(shell: Shell, tmp_path: Path) -> None:
    there = Path("/workspace") if Path("/workspace").is_dir() else tmp_path
    assert run(shell, text("pwd -P")).out == f"{there.resolve()}\n".encode()


@pytest.mark.parametrize("size", [0, 5_000_000])
def test_unread_stdin_does_not_keep_the_end_back(shell: Shell, size: int) -> None:
    nonce = wrapper.new_nonce()
    pipe = subprocess.PIPE
    argv = wrapper.wrapped(text("exit 5"), nonce)
    with swept(shell.start(argv, stdin=pipe, stdout=pipe, stderr=pipe)) as process:
        assert process.stdin
        assert process.stdout
        if size:  # all of it is taken, by the wrapper's cat
            process.stdin.write(bytes(size))
            process.stdin.flush()
        assert process.wait(timeout=10) == 5  # with stdin still open
        assert without_trailer(process.stdout.read(), nonce) == (b"", 5)
        process.stdin.close()


def test_stdin_that_nobody_writes_can_be_closed_from_our_end(shell: Shell) -> None:
    with (
        swept(shell.start(["sh", "-c", "exec sleep 5"])) as other,
        open(os.devnull, "rb") as nothing,
    ):
        argv = wrapper.wrapped(text("cat; exit 4"), wrapper.new_nonce())
        with swept(shell.start(argv, stdin=nothing, stdout=subprocess.DEVNULL)) as process:
            assert process.wait(timeout=10) == 4
        assert other.poll() is None


def test_with_a_terminal(shell: Shell) -> None:
    command = Command(
        Kind.COMMAND,
        [b"[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo yes; echo e >&2; read a; echo $a; exit 3"],
        tty=True,
    )
    with Terminal(shell, command) as terminal:
        terminal.read_until(b"yes\r\ne\r\n")
        terminal.type("typed\n")
        output = terminal.read_until(f"\x1e{terminal.nonce} 003".encode())
        assert terminal.process.wait(timeout=5) == 3
    assert output.count(b"\x1e") == 1
    assert without_trailer(output, terminal.nonce)[0].endswith(b"typed\r\ntyped\r\n")


def test_control_c_at_a_terminal_ends_the_command_alone(shell: Shell) -> None:
    with Terminal(shell, Command(Kind.COMMAND, [b"echo on; exec sleep 20"], tty=True)) as terminal:
        terminal.read_until(b"on\r\n")
        terminal.type("\x03")
        terminal.read_until(f"\x1e{terminal.nonce} 130".encode())
        assert terminal.process.wait(timeout=5) == 130


def test_a_login_shell_at_a_terminal(shell: Shell) -> None:
    with Terminal(shell, Command(Kind.LOGIN, tty=True, environment={"TERM": "dumb"})) as terminal:
        terminal.type("(echo $((40+2)) $TERM; exec sleep 20)\n")
        terminal.read_until(b"42 dumb\r\n")
        # bash may lose an interrupt right before its exec, and the terminal drops what is typed
        # while it delivers one: do it again.
        trailer = f"\x1e{terminal.nonce} 009".encode()
        for _ in range(20):
            terminal.type("\x03")
            terminal.type("exit 9\n")
            with contextlib.suppress(AssertionError):
                terminal.read_until(trailer, 0.5)
                break
        assert trailer in terminal.seen
        assert terminal.process.wait(timeout=5) == 9


def test_a_trailer_that_waits_for_a_slow_reader_is_whole(shell: Shell) -> None:
    """The pipe is full when the command ends, and then stdin ends, with whatever reads that."""
    nonce, pipe = wrapper.new_nonce(), subprocess.PIPE
    argv = wrapper.wrapped(text("head -c 65536 /dev/zero; exit 7"), nonce)
    with swept(shell.start(argv, stdin=pipe, stdout=pipe, stderr=pipe)) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        told = os.read(process.stderr.fileno(), 100)
        assert without_trailer(told, nonce) == (b"", 7)
        shell_itself = psutil.Process(process.pid)
        wait_for(lambda: shell_itself.status() == psutil.STATUS_SLEEPING)
        process.stdin.close()
        wait_for(lambda: {one.status() for one in shell_itself.children()} <= {"zombie"})
        out, code = without_trailer(process.stdout.read(), nonce)
        assert (len(out), code, process.wait(20)) == (65536, 7, 7)
