"""What a session is, through the real OpenSSH client, on both images."""

import fcntl
import hashlib
import os
import signal
import struct
import subprocess
import termios
import time

import psutil
import pytest

from .dev import Pod, eventually, make_key, rent
from .multiplexing import master
from .terminal import Terminal


@pytest.mark.parametrize("code", [0, 1, 3, 126, 127, 128, 143, 254, 255])
def test_exit_codes_are_the_commands_own(pod: Pod, code: int) -> None:
    assert pod.ssh(f"exit {code}").returncode == code


def test_the_bare_image_too(bare: Pod) -> None:
    done = bare.ssh("echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_a_signal_is_128_more_and_nothing_else_is_said(pod: Pod) -> None:
    done = pod.ssh("kill -9 $$")
    assert (done.returncode, done.stdout, done.stderr) == (137, b"", b"")


def test_a_missing_command_is_127(pod: Pod, bare: Pod) -> None:
    for one in (pod, bare):
        done = one.ssh("no-such-command")
        assert done.returncode == 127
        assert b"no-such-command" in done.stderr


def test_stdin_ends_and_nothing_is_lost(pod: Pod) -> None:
    data = os.urandom(8_000_000)
    done = pod.ssh("sha256sum; head -c 3000000 /dev/zero", stdin=data)
    digest, _, zeros = done.stdout.partition(b"\n")
    assert digest.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert zeros == bytes(3_000_000)


def test_unread_stdin_does_not_hang(pod: Pod, bare: Pod) -> None:
    for one in (pod, bare):
        assert one.ssh("sleep 0.2; exit 5", stdin=bytes(5_000_000), seconds=15).returncode == 5


def test_all_output_comes_before_the_status(pod: Pod) -> None:
    done = pod.ssh("head -c 20000000 /dev/zero; echo end >&2; exit 9")
    assert (len(done.stdout), done.stderr, done.returncode) == (20_000_000, b"end\n", 9)


def test_a_command_of_any_bytes(pod: Pod, bare: Pod) -> None:
    text = os.fsdecode(bytes(b for b in range(1, 256) if b not in b"'"))
    for one in (pod, bare):
        done = one.ssh(f"printf %s '{text}'")
        assert done.stdout == os.fsencode(text)


def test_a_command_of_100_kb(pod: Pod) -> None:
    assert len(pod.ssh(f"echo {'x' * 100_000}").stdout) == 100_001


@pytest.mark.parametrize("last", [b"\x1e", b"\x1e0", b"ab\x1e"])
def test_an_answer_that_looks_like_a_trailers_beginning_arrives(pod: Pod, last: bytes) -> None:
    client = pod.start("cat")
    assert client.stdin
    assert client.stdout
    client.stdin.write(last)
    client.stdin.flush()
    assert client.stdout.read(len(last)) == last
    assert client.communicate(b"\x1ex") == (b"\x1ex", b"")
    assert client.returncode == 0


def test_a_background_job_that_keeps_stdout_keeps_the_session(pod: Pod) -> None:
    done = pod.ssh("(sleep 0.5; echo late) & echo early; exit 4")
    assert (done.returncode, done.stdout) == (4, b"early\nlate\n")


def test_a_detached_job_lets_go_at_once_and_lives_on(pod: Pod) -> None:
    began = time.monotonic()
    pod.ssh("setsid -f sh -c 'echo $$ >/tmp/pid; exec sleep 300' </dev/null >/dev/null 2>&1")
    assert time.monotonic() - began < 20
    assert pod.ssh("kill -0 $(cat /tmp/pid) && kill $(cat /tmp/pid)").returncode == 0


def test_the_in_pod_token_is_not_in_a_session_but_in_pid_1(pod: Pod) -> None:
    done = pod.ssh("env; tr '\\0' '\\n' </proc/1/environ | grep -c ^KGPU_API_TOKEN=kgpu_pod_")
    assert b"KGPU_API_TOKEN" not in done.stdout
    assert b"NVIDIA_VISIBLE_DEVICES=void" in done.stdout
    assert done.stdout.endswith(b"\n1\n")


def test_a_command_is_told_of_its_connection_and_bash_reads_its_start_file(pod: Pod) -> None:
    """As under sshd; a file that talks can't harm those who speak a protocol, though."""
    assert pod.ssh("echo 'echo talk; PATH=$PATH:/mine' >~/.bashrc").returncode == 0
    told = "echo $PATH; echo $SSH_CLIENT; echo $SSH_CONNECTION; tty; echo $SSH_TTY"
    talk, path, client, connection, *tty = pod.ssh("-tt", told).stdout.decode().splitlines()
    assert (talk, path[-6:]) == ("talk", ":/mine")
    address, port, *server = connection.split()
    assert (address, server) == ("127.0.0.1", ["127.0.0.1", pod.port])
    assert client == f"{address} {port} {pod.port}"
    assert tty[0].startswith("/dev/pts/")
    assert tty[0] == tty[1]
    for protocol in ("-O", "-s"):
        pod.scp(protocol, "-q", "POD:/root/.bashrc", "/dev/null")
    assert pod.ssh("rm ~/.bashrc; echo ${SSH_TTY-none}").stdout == b"talk\nnone\n"


def test_only_language_and_terminal_variables_pass(pod: Pod) -> None:
    sent = ("-oSetEnv=LC_TIME=de_DE COLORTERM=truecolor LD_PRELOAD=/x PATH=/evil",)
    shown = pod.ssh(*sent, "env").stdout.decode().splitlines()
    assert "LC_TIME=de_DE" in shown
    assert "COLORTERM=truecolor" in shown
    assert not [line for line in shown if "/x" in line or "/evil" in line]


def test_ten_sessions_on_one_connection(pod: Pod) -> None:
    with master(pod) as shared:
        many = [pod.start(shared, f"sleep 0.3; exit {n}") for n in range(10)]
        assert [(one.communicate(), one.returncode)[1] for one in many] == list(range(10))


def test_an_interactive_shell(pod: Pod) -> None:
    terminal = Terminal(pod.argv())
    terminal.until(b"# ")
    terminal.type(b"tty; pwd; echo term=$TERM\r")
    terminal.until(b"term=")
    terminal.until(b"# ")
    assert b"/dev/pts/" in terminal.seen
    assert b"/workspace" in terminal.seen
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.type(b"until [ \"$(stty size)\" = '33 111' ]; do :; done; echo re''sized\r")
    terminal.until(b"resized")
    terminal.type(b"sh -c \"echo sta''rted; exec sleep 100\"\r")
    terminal.until(b"started")
    terminal.type(b"\x03")
    terminal.until(b"# ")
    terminal.type(b"exit 6\r")
    with pytest.raises(OSError):
        terminal.until(b"never")
    assert terminal.close() == 6


def test_who_leaves_a_shell_does_not_wait_for_its_jobs(pod: Pod, bare: Pod) -> None:
    for one in (pod, bare):
        terminal = Terminal(one.argv())
        terminal.until(b"# ")
        terminal.type(b"sleep 61 & sleep 62 &\r")
        terminal.until(b"# ")
        terminal.type(b"exit 6\r")
        with pytest.raises(OSError):
            terminal.until(b"never")
        assert terminal.close() == 6
        assert one.ssh("ps | grep -c '[s]leep 6[12]'").stdout in {b"0\n", b"2\n"}


def test_a_slow_reader_holds_the_pod_back_and_loses_nothing(pod: Pod) -> None:
    writer = "for n in $(seq 60); do head -c 1000000 /dev/zero; echo $n >/tmp/n; done; exit 3"
    client = pod.start(writer)
    assert client.stdout
    first = client.stdout.read(1000)
    memory = psutil.Process(pod.dev.process.pid).memory_info

    def stalled_at() -> int:
        one, two = (int(pod.ssh("sleep 0.3; cat /tmp/n").stdout) for _ in range(2))
        return one if one == two else 0

    # Two windows of 2 MiB, the kernel's socket buffers, and what the two programs hold.
    assert eventually(stalled_at) < 25
    held = memory().rss
    assert len(first + client.stdout.read()) == 60_000_000
    assert client.wait(20) == 3
    assert memory().rss - held < 16_000_000
    client.communicate()


@pytest.mark.parametrize("mode", ["-T", "-tt"])
def test_when_the_client_goes_the_command_goes(pod: Pod, mode: str) -> None:
    client = pod.start(mode, "echo $$; exec sleep 4242")
    assert client.stdout
    pid = client.stdout.readline().strip().decode()
    client.kill()
    client.communicate()
    eventually(lambda: pod.ssh(f"kill -0 {pid} 2>/dev/null || echo gone").stdout == b"gone\n")


def test_release_cuts_sessions_and_the_key(pod: Pod) -> None:
    other = rent(pod.dev, make_key(pod.dev.state / "cut-key"))
    client = other.start("echo in; sleep 100")
    assert client.stdout
    assert client.stdout.readline() == b"in\n"
    released = other.release()
    assert (released["phase"], released["end_reason"]) == ("Terminating", "returned")
    _, said = client.communicate(timeout=10)
    assert client.returncode == 255
    assert b"the rental was released" in said
    refused = other.ssh("true")
    assert refused.returncode == 255
    assert b"Permission denied (publickey)" in refused.stderr
    eventually(lambda: other.view()["phase"] == "Ended")


def test_rotation_cuts_sessions_and_moves_the_door(pod: Pod) -> None:
    old = rent(pod.dev, make_key(pod.dev.state / "old-key"))
    client = old.start("echo in; sleep 100")
    assert client.stdout
    assert client.stdout.readline() == b"in\n"
    minted = pod.dev.api("PATCH", f"/pods/{old.pod_id}", {})
    _, said = client.communicate(timeout=10)
    assert client.returncode == 255
    assert b"key was replaced" in said
    assert b"Permission denied" in old.ssh("true").stderr
    path = pod.dev.state / "new-key"
    path.touch(mode=0o600)
    path.write_text(minted["ssh_access"]["private_key"])
    new = Pod(pod.dev, old.pod_id, path)
    assert new.ssh("hostname").stdout.decode().strip() == old.pod_id
    new.release()


def test_a_stranger_and_another_user_name_are_refused(pod: Pod) -> None:
    stranger = Pod(pod.dev, pod.pod_id, make_key(pod.dev.state / "stranger-key"))
    assert b"Permission denied (publickey)" in stranger.ssh("true").stderr
    argv = [word.replace("kgpu@", "root@") for word in pod.argv("true")]
    done = subprocess.run(argv, capture_output=True, timeout=20)
    assert b"Permission denied (publickey)" in done.stderr
