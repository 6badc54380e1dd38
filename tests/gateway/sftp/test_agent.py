"""What the agent does in each of the shells: large files, odd names, open files that move."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from . import client as sftp
from .client import BAD_MESSAGE, EOF, FAILURE, HANDLE, NO_SUCH_FILE, OK, UNSUPPORTED, Client, R, W
from .local import OPENSSH

GIB = 1024 * 1024 * 1024
# All bytes that a name can have, in two names.
ODD = [bytes(range(1, 47)) + bytes(range(48, 128)), bytes(range(128, 256)), b"-n", b"a\n", b"\n"]


def test_names_of_all_bytes(client: Client, here: Path) -> None:
    for name in ODD:
        client.put(name, name)
        assert client.get(name) == name
        assert (here / os.fsdecode(name)).read_bytes() == name
        assert client.ask(sftp.SYMLINK, name, b"link").code == OK
        assert client.ask(sftp.READLINK, b"link").names[0][0] == name
        assert client.ask(sftp.REALPATH, name).names[0][0] == os.fsencode(here) + b"/" + name
        assert client.ask(sftp.REMOVE, b"link").code == OK
        assert client.ask(sftp.MKDIR, b"d" + name, {}).code == OK
        assert client.ask(sftp.RENAME, name, b"d" + name + b"/" + name).code == OK
        assert [one for one, _, _ in client.list(b"d" + name).names] == sorted([b".", b"..", name])


def test_a_folder_of_many_names(client: Client, here: Path) -> None:
    (here / "many").mkdir()
    for n in range(1000):
        (here / "many" / f"{n}\n{n}").write_bytes(bytes(n))
    listed = {name: about for name, _, about in client.list(b"many").names}
    assert len(listed) == 1002
    assert all(listed[b"%d\n%d" % (n, n)]["size"] == n for n in range(1000))


def test_the_line_that_ls_shows_is_openssh_s(
    client: Client, other: Client, here: Path, there: Path
) -> None:
    for folder in (here, there):
        (folder / "recent").write_bytes(bytes(5))
        (folder / "old").write_bytes(bytes(123456))
        (folder / "old").chmod(0o4711)
        (folder / "link").symlink_to("old")
        os.utime(folder / "old", (1, 1_000_000_000))
        os.chown(folder / "old", 12345, 54321)
    ours = {name: line.split() for name, line, _ in client.list(b".").names}
    theirs = {name: line.split() for name, line, _ in other.list(b".").names}
    for name in (b"old", b"link", b"recent"):
        assert ours[name] == theirs[name]


def test_more_than_4_gib(client: Client, here: Path) -> None:
    handle = client.opened(b"sparse", R | W | sftp.CREAT)
    for offset in (5 * GIB, 5 * GIB + 4, 6 * GIB + 12345):
        assert client.ask(sftp.WRITE, handle, (offset,), b"here").code == OK
    assert client.ask(sftp.FSTAT, handle).attributes["size"] == 6 * GIB + 12349
    assert client.ask(sftp.STAT, b"sparse").attributes["size"] == 6 * GIB + 12349
    assert client.ask(sftp.READ, handle, (5 * GIB - 2,), 12).data == b"\0\0herehere\0\0"
    assert client.ask(sftp.READ, handle, (6 * GIB + 12340,), 100).data == b"\0" * 5 + b"here"
    assert client.ask(sftp.SETSTAT, b"sparse", {"size": 7 * GIB + 1}).code == OK
    assert (here / "sparse").stat().st_size == 7 * GIB + 1
    assert (here / "sparse").stat().st_blocks < 1000


def test_offsets_that_no_file_has(client: Client) -> None:
    handle = client.opened(b"file", R | W | sftp.CREAT)
    assert client.ask(sftp.WRITE, handle, (2**64 - 1,), b"x").code == FAILURE
    assert client.ask(sftp.WRITE, handle, (2**63 - 2,), b"x").code in {FAILURE, BAD_MESSAGE}
    assert client.ask(sftp.READ, handle, (2**64 - 5,), 5).code
    # The agent still knows what is data and what is a line.
    assert client.ask(sftp.WRITE, handle, (0,), b"remove 'file'\n").code == OK
    assert client.get(b"file") == b"remove 'file'\n"


def test_an_open_file_stays_the_same_file(client: Client) -> None:
    client.put(b"one", b"first")
    handle = client.opened(b"one", R | W)
    client.put(b"two", b"second")
    assert client.extended(b"posix-rename@openssh.com", b"two", b"one").code == OK
    assert client.ask(sftp.READ, handle, (0,), 100).data == b"first"
    assert client.ask(sftp.REMOVE, b"one").code == OK
    assert client.ask(sftp.WRITE, handle, (5,), b" still").code == OK
    assert client.ask(sftp.READ, handle, (0,), 100).data == b"first still"
    assert client.ask(sftp.FSETSTAT, handle, {"size": 2, "mode": 0o600}).code == OK
    about = client.ask(sftp.FSTAT, handle).attributes
    assert (about["size"], stat.S_IMODE(about["mode"])) == (2, 0o600)
    assert client.extended(b"fsync@openssh.com", handle).code == OK
    assert client.ask(sftp.CLOSE, handle).code == OK
    assert client.ask(sftp.STAT, b"one").code == NO_SUCH_FILE


def test_many_writes_and_reads_at_once(client: Client, here: Path) -> None:
    content = os.urandom(3_000_000)
    handle = client.opened(b"file", R | W | sftp.CREAT)
    places = [*range(0, len(content), 7001)]
    sent = [
        client.send(sftp.WRITE, handle, (at,), content[at : at + 7001])
        for at in places[::2] + places[1::2]
    ]
    assert {client.result(one).code for one in sent} == {OK}
    assert (here / "file").read_bytes() == content
    sent = [client.send(sftp.READ, handle, (at,), 7001) for at in places]
    assert b"".join(client.result(one).data for one in sent) == content
    assert client.ask(sftp.READ, handle, (len(content),), 1).code == EOF


def test_appending_heeds_no_offset(client: Client, here: Path) -> None:
    (here / "log").write_bytes(b"1\n")
    handle = client.opened(b"log", W | sftp.APPEND)
    sent = [client.send(sftp.WRITE, handle, (0,), b"2\n") for _ in range(5)]
    assert {client.result(one).code for one in sent} == {OK}
    assert (here / "log").read_bytes() == b"1\n" + b"2\n" * 5


def test_a_full_disk_is_told_and_the_rest_goes_on(client: Client) -> None:
    handle = client.opened(b"/dev/full", W)
    sent = [client.send(sftp.WRITE, handle, (at * 32768,), bytes(32768)) for at in range(20)]
    sent.append(client.send(sftp.STAT, b"/"))
    answers = [client.result(one) for one in sent]
    assert {(one.code, one.text) for one in answers[:-1]} == {(FAILURE, b"No space left on device")}
    assert answers[-1].attributes


@pytest.mark.root
def test_a_disk_that_fills_up(client: Client, here: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    (here / "small").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(here / "small")]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        handle = client.opened(b"small/file", W | sftp.CREAT)
        sent = [
            client.send(sftp.WRITE, handle, (at,), b"x" * 32768)
            for at in range(0, 64 * 32768, 32768)
        ]
        answers = [client.result(one) for one in sent]
        kept = sum(32768 for one in answers if one.code == OK)
        assert {one.text for one in answers if one.code} == {b"No space left on device"}
        # Whatever was acknowledged is there.
        assert (here / "small" / "file").read_bytes()[:kept] == b"x" * kept
        assert client.ask(sftp.CLOSE, handle).code == OK
    finally:
        subprocess.run(["umount", str(here / "small")], check=True)


def test_what_is_no_file_is_not_opened(client: Client, here: Path) -> None:
    os.mkfifo(here / "fifo")
    for flags in (R, W, R | W, W | sftp.CREAT | sftp.TRUNC):
        assert client.ask(sftp.OPEN, b"fifo", flags, {}).code == FAILURE
    assert client.ask(sftp.SETSTAT, b"fifo", {"size": 0}).code == BAD_MESSAGE
    assert stat.S_ISFIFO(client.ask(sftp.STAT, b"fifo").attributes["mode"])


def test_how_full_the_disk_is(client: Client, other: Client) -> None:
    ours = client.extended(b"statvfs@openssh.com", b".").data
    theirs = other.extended(b"statvfs@openssh.com", b".").data
    assert len(ours) == len(theirs) == 88
    # What changes by itself is left out: free blocks and files; and the mount's flags and id.
    for at in (0, 1, 2, 5, 10):
        assert ours[at * 8 : at * 8 + 8] == theirs[at * 8 : at * 8 + 8]


def test_what_nobody_speaks(client: Client) -> None:
    assert client.ask(99, b"x").code == UNSUPPORTED
    assert client.extended(b"copy-data").code == UNSUPPORTED
    limits = client.extended(b"limits@openssh.com").data
    assert [int.from_bytes(limits[at : at + 8], "big") for at in (0, 8, 16, 24)] == [
        262144,
        261120,
        261120,
        128,
    ]


def test_openssh_announces_the_same(client: Client, other: Client) -> None:
    assert OPENSSH
    assert client.extensions.items() <= other.extensions.items()


def test_handles_are_given_back(client: Client) -> None:
    for _ in range(150):
        handle = client.opened(b"x", W | sftp.CREAT)
        assert client.ask(sftp.CLOSE, handle).code == OK
    kept = [client.ask(sftp.OPEN, b"x", R, {}) for _ in range(130)]
    assert [one.kind for one in kept].count(HANDLE) == 128
    assert kept[-1].text == b"Too many open handles"
