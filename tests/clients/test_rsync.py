"""rsync, which needs its other half in the image."""

import os
import shlex
import subprocess
from pathlib import Path

from tests.e2e.dev import Pod

from .shows import BARE, DEFAULT, shows
from .trees import listed, odd_tree


def rsync(image: Pod, *words: str) -> subprocess.CompletedProcess[bytes]:
    shell = shlex.join(["ssh", *image.options, "-p", image.port])
    places = [word.replace("POD:", f"{image.where}:") for word in words]
    argv = ["rsync", "-e", shell, *places]
    return subprocess.run(argv, capture_output=True, timeout=60)


def copied(image: Pod, *words: str) -> None:
    done = rsync(image, *words)
    assert (done.returncode, done.stderr) == (0, b"")


@shows("rsync", "a tree of odd files, both ways", on=(DEFAULT,))
def test_a_tree(image: Pod, there: str, tmp_path: Path) -> None:
    tree = odd_tree(tmp_path / "tree", links=True)
    copied(image, "-aHS", f"{tree}/", f"POD:{there}/with a space/")
    copied(image, "-aHS", f"POD:{there}/with a space/", f"{tmp_path}/back/")
    assert listed(tree) == listed(tmp_path / "back")
    assert (tmp_path / "back" / "sparse").stat().st_blocks < 1000
    assert (tmp_path / "back" / "same").stat().st_nlink == 2
    assert rsync(image, "-aHni", f"{tree}/", f"POD:{there}/with a space/").stdout == b""


@shows("rsync", "only what changed, and what was deleted", on=(DEFAULT,))
def test_changes(image: Pod, there: str, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(os.urandom(500_000))
    (tmp_path / "gone").touch()
    copied(image, "-a", f"{tmp_path}/", f"POD:{there}/")
    (tmp_path / "gone").unlink()
    with (tmp_path / "kept").open("ab") as file:
        file.write(b"more")
    done = rsync(image, "-ai", "--delete", "--no-W", "--stats", f"{tmp_path}/", f"POD:{there}/")
    assert b"*deleting   gone" in done.stdout
    [sent] = [line for line in done.stdout.splitlines() if line.startswith(b"Literal data")]
    assert int(sent.split()[2].replace(b",", b"")) < 10_000
    assert image.ssh(f"cat {there}/kept").stdout == (tmp_path / "kept").read_bytes()


@shows(
    "rsync",
    "a tree of odd files, both ways",
    "only what changed, and what was deleted",
    on=(BARE,),
    answer="one line: what to install",
)
def test_where_there_is_none(image: Pod, tmp_path: Path) -> None:
    for words in (("/etc/hostname", "POD:/workspace/"), ("POD:/etc/passwd", f"{tmp_path}/")):
        done = rsync(image, "-a", *words)
        assert done.returncode != 0
        [line] = [line for line in done.stderr.splitlines() if not line.startswith(b"rsync")]
        assert line.startswith(b"kgpud: this image has no rsync; install it")
    assert image.ssh("rsync --server .").returncode == 127
