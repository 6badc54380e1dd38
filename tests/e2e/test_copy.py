"""Files in and out: scp, rsync and sshfs as people call them."""

import filecmp
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .dev import Pod, eventually, output


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "empty").touch()
    (top / "with space and 'quotes'").write_bytes(b"x")
    (top / "deep" / "er" / "big").write_bytes(os.urandom(5_000_000))
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    for n in range(100):
        (top / "deep" / f"{n}").write_bytes(os.urandom(n * 37))
    return top


def same(one: Path, other: Path) -> bool:
    names = sorted(path.relative_to(one) for path in one.rglob("*"))
    assert names == sorted(path.relative_to(other) for path in other.rglob("*"))
    files = [str(name) for name in names if (one / name).is_file()]
    _, different, unreadable = filecmp.cmpfiles(one, other, files, shallow=False)
    return not different and not unreadable


@pytest.mark.parametrize("protocol", ["-O", "-s"])
def test_scp_both_ways(pod: Pod, tree: Path, tmp_path: Path, protocol: str) -> None:
    there = f"POD:/workspace/scp{protocol}"
    pod.scp(protocol, "-r", "-p", str(tree), there)
    pod.scp(protocol, "-r", "-p", there, str(tmp_path / "back"))
    assert same(tree, tmp_path / "back")
    assert os.access(tmp_path / "back" / "run.sh", os.X_OK)


def test_scp_needs_nothing_in_the_image(bare: Pod, tree: Path, tmp_path: Path) -> None:
    bare.scp("-O", "-r", "-p", str(tree), "POD:/workspace/scp")
    bare.scp("-O", "-r", "-p", "POD:/workspace/scp", str(tmp_path / "back"))
    assert same(tree, tmp_path / "back")
    assert os.access(tmp_path / "back" / "run.sh", os.X_OK)
    bare.scp("-O", "POD:/etc/passwd", str(tmp_path / "x"))


def test_scp_of_a_missing_file_fails(pod: Pod, tmp_path: Path) -> None:
    pod.scp("-O", "POD:/workspace/not-there", str(tmp_path / "x"), code=1)


def test_rsync_both_ways(pod: Pod, tree: Path, tmp_path: Path) -> None:
    pod.rsync("-a", f"{tree}/", "POD:/workspace/rsync/")
    pod.rsync("-a", "POD:/workspace/rsync/", f"{tmp_path / 'back'}/")
    assert same(tree, tmp_path / "back")
    assert output(["rsync", "-a", "-n", "-i", f"{tree}/", f"{tmp_path / 'back'}/"]) == b""


@contextmanager
def mounted(pod: Pod, folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir()
    # In the foreground, so that it is a child that we can wait for.
    argv = ["sshfs", "-f", f"{pod.where}:/workspace", str(folder), "-p", pod.port, *options]
    # What sshfs hands on to ssh has the form -o name=value.
    words = pod.options[pod.options.index("-o") :]
    process = subprocess.Popen([*argv, "-o", f"IdentityFile={pod.key}", *words])
    try:
        eventually(lambda: os.path.ismount(folder) or process.poll() is not None)
        assert process.poll() is None
        yield folder
    finally:
        subprocess.run(["fusermount3", "-u", str(folder)], check=False, timeout=20)
        process.wait(20)


@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="this machine has no /dev/fuse")
@pytest.mark.parametrize("option", ["-osftp_server=/usr/lib/openssh/sftp-server", "-oreconnect"])
def test_sshfs(pod: Pod, tmp_path: Path, option: str) -> None:
    with mounted(pod, tmp_path / "mnt", option) as here:
        (here / "edited").write_text("by hand\n")
        assert pod.ssh("cat /workspace/edited").stdout == b"by hand\n"
        pod.ssh("mkdir -p /workspace/made; echo in the pod >/workspace/made/there")
        assert (here / "made" / "there").read_text() == "in the pod\n"
        (here / "edited").rename(here / "renamed")
        (here / "renamed").unlink()
