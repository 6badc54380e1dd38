"""The sftp program: by hand, whole trees, and files that were broken off."""

import os
import subprocess
from pathlib import Path

from tests.e2e.dev import Pod

from .shows import shows
from .trees import listed, odd_tree


def batch(image: Pod, *lines: str) -> subprocess.CompletedProcess[bytes]:
    argv = ["sftp", *image.options, "-P", image.port, "-b", "-", image.where]
    text = "\n".join(lines).encode() + b"\n"
    return subprocess.run(argv, input=text, capture_output=True, timeout=60)


@shows("sftp", "by hand: put, get, rename, links, modes, free space")
def test_by_hand(image: Pod, there: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(300_000))
    done = batch(
        image,
        "pwd",
        f"cd {there}",
        f"put {tmp_path}/file up",
        "mkdir folder",
        "-mkdir folder",
        "rename up folder/moved",
        "chmod 640 folder/moved",
        "ln -s folder/moved link",
        "ln folder/moved hard",
        "ls -l",
        "ls -l folder",
        "df",
        "-rmdir folder",
        "rm hard",
        "-get missing",
    )
    said = done.stdout.decode()
    assert done.returncode == 0
    assert "Remote working directory: /workspace" in said
    assert "lrwxrwxrwx" in said
    assert "-rw-r-----" in said
    assert "300000" in said
    assert "%Capacity" in said
    shown = image.ssh(f"cd {there} && ls -A . folder && readlink link && cat folder/moved").stdout
    content = (tmp_path / "file").read_bytes()
    assert shown == b".:\nfolder\nlink\n\nfolder:\nmoved\nfolder/moved\n" + content
    assert batch(image, f"rmdir {there}/folder").returncode == 1
    assert batch(image, f"get {there}/missing").returncode == 1


@shows("sftp", "a tree of odd files, both ways")
def test_a_tree(image: Pod, there: str, tmp_path: Path) -> None:
    tree = odd_tree(tmp_path / "tree")
    lines = [f"put -pR {tree} {there}/tree", f"get -pR {there}/tree {tmp_path}/back"]
    assert batch(image, *lines).returncode == 0
    assert listed(tree) == listed(tmp_path / "back")


@shows("sftp", "going on where a copy broke off")
def test_going_on(image: Pod, there: str, tmp_path: Path) -> None:
    content = os.urandom(500_000)
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "half").write_bytes(content[:123_457])
    lines = [
        f"put {tmp_path}/half {there}/up",
        f"reput {tmp_path}/file {there}/up",
        f"reget {there}/up {tmp_path}/half",
    ]
    assert batch(image, *lines).returncode == 0
    assert (tmp_path / "half").read_bytes() == content
