"""OpenSSH's client: what a session is, in each of its modes."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.dev import Pod
from tests.e2e.library import connected
from tests.e2e.multiplexing import master

from .shows import shows


@shows("ssh", "every exit code from 0 to 255")
def test_exit_codes(image: Pod) -> None:
    with master(image) as shared, ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda n: image.ssh(shared, f"exit {n}").returncode, range(256))) == [
            *range(256)
        ]


@shows("ssh", "`ControlMaster`: ten sessions on a connection")
def test_the_eleventh_session_is_refused(image: Pod) -> None:
    with master(image) as shared:
        ten = [image.start(shared, "echo in; cat") for _ in range(10)]
        assert {one.stdout.readline() for one in ten if one.stdout} == {b"in\n"}
        # A refused client goes on by itself: here it can't, and says so.
        alone = image.ssh(shared, "-oProxyCommand=false", "true")
        assert alone.returncode == 255
        assert b"Session open refused by peer" in alone.stderr
        assert [one.communicate(b"still here")[0] for one in ten] == [b"still here"] * 10
        assert image.ssh(shared, "-oProxyCommand=false", "true").returncode == 0


@shows("ssh", "`-T`, `-tt`, `-n`, `-N`, an empty command")
@pytest.mark.parametrize("mode", ["-T", "-tt", "-n", "-N", "empty"])
def test_modes(image: Pod, mode: str) -> None:
    if mode == "-N":
        with master(image) as shared:  # that is an `ssh -N`
            assert image.ssh(shared, "-Ocheck").returncode == 0
    elif mode == "empty":
        assert image.ssh("", stdin=b"echo $((6 * 7)); exit 4").stdout == b"42\n"
        with connected(image) as client:
            assert client.exec_command("", timeout=20)[1].channel.recv_exit_status() == 0
    elif mode == "-T":
        done = image.ssh("-T", stdin=b"tty; exit 5")
        assert (done.returncode, done.stdout) == (5, b"not a tty\n")
    elif mode == "-tt":
        done = image.ssh("-tt", "tty; stty -echo; exit 6")
        assert done.returncode == 6
        assert done.stdout.startswith(b"/dev/pts/")
    else:
        loop = 'while read x; do "$@" "echo $x; cat"; done'
        argv = ["sh", "-c", loop, "sh", *image.argv("-n")]
        done = subprocess.run(argv, input=b"1\n2\n3\n", capture_output=True, timeout=60)
        assert done.stdout == b"1\n2\n3\n"


@shows("ssh", "commands of 100 kB, of any bytes but NUL")
def test_long_commands_of_any_bytes(image: Pod) -> None:
    text = bytes(byte for byte in range(1, 256) if byte not in b"'") * 400
    done = image.ssh(f"printf %s '{os.fsdecode(text)}'")
    assert (done.returncode, done.stdout) == (0, text)


@shows("ssh", "`-L -R -D -W -w -A -X`", answer="refused by policy; the reason is told")
def test_forwarding(image: Pod) -> None:
    """Each of them is tried in tests/e2e/test_forwarding.py."""
    done = image.ssh("-W127.0.0.1:22")
    assert done.returncode == 255
    assert b"administratively prohibited: forwarding is disabled here" in done.stderr


DATA = bytes(range(256)) * 8000
ZEROS = bytes(2_000_000)
# What the client sends before it ends its side (None: it never does), the command, what comes.
HALVES = [
    (b"", "cat; sleep 0.3; echo late", 0, b"late\n", b""),
    (DATA, "cat; exit 3", 3, DATA, b""),
    (None, "echo out; exit 4", 4, b"out\n", b""),
    (b"x", "cat; head -c 2000000 /dev/zero; exit 5", 5, b"x" + ZEROS, b""),
    (DATA, "exec <&-; echo deaf; sleep 0.2; exit 6", 6, b"deaf\n", b""),
    (DATA, "head -c 10; exit 7", 7, DATA[:10], b""),
    (DATA, "exec >&-; cat >&2; exit 8", 8, b"", DATA),
    (DATA, "exec 2>&-; cat; exit 9", 9, DATA, b""),
    (b"x", "exec >&- 2>&-; cat >/dev/null; sleep 0.2; exit 10", 10, b"", b""),
    (DATA, "exec <&- >&- 2>&-; sleep 0.2; exit 11", 11, b"", b""),
]


@shows("ssh", "either end closes stdin, stdout or stderr first, in each order")
def test_half_closes(image: Pod) -> None:
    with master(image) as shared:
        for data, command, *meant in HALVES:
            with image.start(shared, command) as client:
                if data is None:
                    client.wait(20)
                out, errors = client.communicate(data, timeout=60)
                assert [client.returncode, out, errors] == meant, command


@shows("ssh", "`ssh … | head` ends, and so does what writes; what is silent runs on")
def test_a_reader_that_goes(image: Pod, there: str) -> None:
    def first_five(command: str) -> list[str]:
        script = '"$@" | head -c 5; echo " ${PIPESTATUS[0]}"'
        argv = ["bash", "-c", script, "bash", *image.argv(command)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        return done.stdout.decode().split()

    assert first_five("while echo 12345; do :; done") == ["12345", "141"]
    assert first_five(f"yes 12345 | cat; touch {there}/after") == ["12345", "0"]
    assert first_five(f"echo 12345; sleep 0.5; touch {there}/silent; exit 4") == ["12345", "4"]
    assert image.ssh(f"ls {there}").stdout == b"after\nsilent\n"
