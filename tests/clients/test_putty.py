"""PuTTY's programs: plink, pscp in both of its protocols, psftp."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.dev import Dev, Pod, output

from .shows import shows
from .trees import NEWLINE, NOT_TEXT, contents, odd_tree

# Its names are text of one line, and a backslash begins another folder.
ODD = (NEWLINE, NOT_TEXT, b"\\")


@pytest.fixture
def options(image: Pod, tmp_path: Path, dev: Dev) -> list[str]:
    """What each of them takes: key, port, and the host's key."""
    ppk = tmp_path / "key.ppk"
    output(["puttygen", str(image.key), "-O", "private", "-o", str(ppk)])
    told = output(["ssh-keygen", "-l", "-f", dev.env["KGPU_KNOWN_HOSTS"]]).split()[1].decode()
    return ["-batch", "-i", str(ppk), "-P", image.port, "-hostkey", told]


@shows("plink", "commands: stdin, stdout, stderr, exit codes")
def test_plink(image: Pod, options: list[str]) -> None:
    data = os.urandom(1_000_000)
    argv = ["plink", *options, image.where]
    done = subprocess.run(
        [*argv, "cat; echo err >&2; exit 7"], input=data, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, data, b"err\n")
    for code in (0, 1, 127, 255):
        assert subprocess.run([*argv, f"exit {code}"], stdin=subprocess.DEVNULL).returncode == code


@shows("plink", "a terminal")
def test_plink_with_a_terminal(image: Pod, options: list[str]) -> None:
    argv = ["plink", *options, "-t", image.where]
    done = subprocess.run(argv, input=b"tty\rexit 5\r", capture_output=True, timeout=60)
    assert done.returncode == 5
    assert b"/dev/pts/" in done.stdout


@shows("pscp, psftp", "a tree both ways: `pscp -scp`, `pscp -sftp`")
@pytest.mark.parametrize("protocol", ["-scp", "-sftp"])
def test_pscp(image: Pod, options: list[str], there: str, tmp_path: Path, protocol: str) -> None:
    # It asks about names as text, and refuses what could be somebody else's folder.
    tree = odd_tree(tmp_path / "tree", without=ODD)
    (tmp_path / "back").mkdir()
    pscp = ["pscp", "-q", protocol, *options, "-r", "-p"]
    output([*pscp, str(tree), f"{image.where}:{there}"])
    output([*pscp, f"{image.where}:{there}/tree", str(tmp_path / "back")])
    assert contents(tree) == contents(tmp_path / "back" / "tree")


@shows("pscp, psftp", "`psftp`: a tree, renames, modes")
def test_psftp(image: Pod, options: list[str], there: str, tmp_path: Path) -> None:
    tree = odd_tree(tmp_path / "tree", without=ODD)
    argv = ["psftp", "-bc", "-b", "/dev/stdin", *options, image.where]
    lines = [
        f"cd {there}",
        f"put -r {tree} up",
        "mv up/empty up/moved",
        "chmod 600 up/moved",
        "mv up/moved up/empty",
        "ls up",
        f"get -r up {tmp_path}/back",
    ]
    said = output(argv, stdin="\n".join(lines).encode() + b"\n")
    assert b"-rw-------" in said
    assert contents(tree) == contents(tmp_path / "back")
