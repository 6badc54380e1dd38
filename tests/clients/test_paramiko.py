"""paramiko, as Python programs use it: commands, shells, many channels, SFTP."""

import os
import threading
from pathlib import Path

import pytest

from tests.e2e.dev import Pod
from tests.e2e.library import connected

from .shows import shows
from .trees import OLD


@shows("paramiko", "commands: stdin, stdout, stderr, exit codes")
def test_commands(image: Pod) -> None:
    data = os.urandom(1_000_000)
    with connected(image) as client:
        stdin, stdout, stderr = client.exec_command("cat; echo err >&2; exit 7", timeout=20)
        # Both ways at once: neither side's window holds it all.
        writer = threading.Thread(
            target=lambda: (stdin.write(data), stdin.channel.shutdown_write())
        )
        writer.start()
        assert stdout.read() == data
        assert stderr.read() == b"err\n"
        assert stdout.channel.recv_exit_status() == 7
        writer.join(20)


@shows("paramiko", "a terminal: `invoke_shell`, resized")
def test_a_shell(image: Pod) -> None:
    with connected(image) as client, client.invoke_shell("vt100", 100, 30) as shell:
        shell.settimeout(20)
        seen = b""

        def until(text: bytes) -> None:
            nonlocal seen
            while text not in seen:
                got = shell.recv(65536)
                assert got, seen
                seen += got

        shell.send(b"echo $TERM $(stty size)\r")
        until(b"vt100 30 100")
        shell.resize_pty(111, 33)
        shell.send(b"until [ \"$(stty size)\" = '33 111' ]; do :; done; exit 6\r")
        assert shell.recv_exit_status() == 6


@shows("paramiko", "ten channels at once on one connection")
def test_many_channels(image: Pod) -> None:
    with connected(image) as client:
        all_ten = [client.exec_command(f"cat; exit {n}", timeout=20) for n in range(10)]
        for n, (stdin, _, _) in enumerate(all_ten):
            stdin.write(f"{n}")
            stdin.channel.shutdown_write()
        for n, (_, stdout, _) in enumerate(all_ten):
            assert stdout.read() == f"{n}".encode()
            assert stdout.channel.recv_exit_status() == n


@shows("paramiko", "SFTP: files, positions, times, links, errors")
def test_sftp(image: Pod, there: str, tmp_path: Path) -> None:
    content = os.urandom(2_000_003)
    (tmp_path / "file").write_bytes(content)
    with connected(image) as client, client.open_sftp() as sftp:
        sftp.chdir(there)
        assert sftp.getcwd() == there
        assert sftp.put(str(tmp_path / "file"), "file").st_size == len(content)
        sftp.get("file", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == content
        with sftp.open("file", "r+") as opened:
            opened.seek(1_999_999)
            opened.write(b"patched and longer")
            opened.truncate(2_000_010)
        with sftp.open("file") as opened:
            assert opened.readv([(0, 10), (1_999_990, 50)])
        with sftp.open("file", "a") as opened:
            opened.write(b"end")
        assert sftp.stat("file").st_size == 2_000_013
        sftp.utime("file", (OLD, OLD))
        sftp.symlink("file", "link")
        sftp.posix_rename("link", "file2")
        assert sftp.readlink("file2") == "file"
        names = {entry.filename: entry for entry in sftp.listdir_iter()}
        assert sorted(names) == ["file", "file2"]
        assert names["file"].st_mtime == OLD
        with pytest.raises(FileNotFoundError):
            sftp.stat("missing")
        with pytest.raises(OSError, match=r"Failure|exists"):
            sftp.mkdir(there)
        assert sftp.normalize("../.") == "/workspace"
