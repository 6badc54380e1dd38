"""dropbear's client, by itself and under scp and rsync."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.dev import Pod, output

from .shows import BARE, DEFAULT, shows
from .trees import NEWLINE, listed, odd_tree


@pytest.fixture
def dbclient(image: Pod, tmp_path: Path) -> Path:
    """A dbclient that has the pod's key, as scp's -S wants it: a program and no options."""
    key = tmp_path / "key.dropbear"
    output(["dropbearconvert", "openssh", "dropbear", str(image.key), str(key)])
    program = tmp_path / "dbclient"
    # -y -y: it knows no file of known hosts but the one in its account's home.
    program.write_text(f'#!/bin/sh\nexec /usr/bin/dbclient -y -y -i {key} "$@"\n')
    program.chmod(0o755)
    return program


@shows("dbclient", "commands: stdin, stdout, stderr, exit codes")
def test_commands(image: Pod, dbclient: Path) -> None:
    data = os.urandom(1_000_000)
    argv = [str(dbclient), "-p", image.port, image.where]
    done = subprocess.run(
        [*argv, "cat; echo err >&2; exit 7"], input=data, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (7, data)
    assert done.stderr.endswith(b"err\n")
    for code in (0, 1, 127, 255):
        assert subprocess.run([*argv, f"exit {code}"], stdin=subprocess.DEVNULL).returncode == code


@shows("dbclient", "under `scp -S`, in both protocols: a tree both ways")
@pytest.mark.parametrize("protocol", ["-O", "-s"])
def test_under_scp(image: Pod, dbclient: Path, there: str, tmp_path: Path, protocol: str) -> None:
    tree = odd_tree(tmp_path / "tree", without=(NEWLINE,) if protocol == "-O" else ())
    scp = ["scp", "-q", protocol, "-r", "-p", "-S", str(dbclient), "-P", image.port]
    output([*scp, str(tree), f"{image.where}:{there}/tree"])
    output([*scp, f"{image.where}:{there}/tree", str(tmp_path / "back")])
    assert listed(tree) == listed(tmp_path / "back")


@shows("dbclient", "under `rsync -e`", on=(DEFAULT,))
def test_under_rsync(image: Pod, dbclient: Path, there: str, tmp_path: Path) -> None:
    tree = odd_tree(tmp_path / "tree", links=True)
    rsync = ["rsync", "-aH", "-e", f"{dbclient} -p {image.port}"]
    output([*rsync, f"{tree}/", f"{image.where}:{there}/"])
    output([*rsync, f"{image.where}:{there}/", f"{tmp_path}/back/"])
    assert listed(tree) == listed(tmp_path / "back")


@shows("dbclient", "under `rsync -e`", on=(BARE,), answer="one line: what to install")
def test_under_rsync_where_there_is_none(image: Pod, dbclient: Path) -> None:
    argv = ["rsync", "-e", f"{dbclient} -p {image.port}", "/etc/hostname", f"{image.where}:/tmp/"]
    done = subprocess.run(argv, capture_output=True, timeout=60)
    assert done.returncode != 0
    assert b"kgpud: this image has no rsync; install it" in done.stderr
