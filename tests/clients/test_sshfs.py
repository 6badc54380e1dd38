"""A pod's folder mounted, as `sshfs` and the editors on top of it use it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.dev import Pod, eventually

from .shows import shows
from .trees import OLD, listed, odd_tree

SERVER = "/usr/lib/openssh/sftp-server"


@contextmanager
def mounted(image: Pod, folder: Path, where: str, *options: str) -> Iterator[Path]:
    folder.mkdir()
    # In the foreground, so that it is a child that we can wait for.
    argv = ["sshfs", "-f", f"{image.where}:{where}", str(folder), "-p", image.port, *options]
    # What sshfs hands on to ssh has the form -o name=value.
    words = image.options[image.options.index("-o") :]
    process = subprocess.Popen([*argv, "-o", f"IdentityFile={image.key}", *words])
    try:
        eventually(lambda: os.path.ismount(folder) or process.poll() is not None)
        assert process.poll() is None
        yield folder
    finally:
        subprocess.run(["fusermount3", "-u", str(folder)], check=False, timeout=20)
        process.wait(20)


has_fuse = pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="there is no /dev/fuse")


@has_fuse
@shows("sshfs", "edits, with `sftp_server=` and without")
@pytest.mark.parametrize("option", [f"-osftp_server={SERVER}", "-oreconnect"])
def test_edits(image: Pod, there: str, tmp_path: Path, option: str) -> None:
    with mounted(image, tmp_path / "mnt", there, option) as here:
        file = here / "edited"
        file.write_bytes(b"0123456789" * 1000)
        with file.open("r+b") as opened:
            opened.seek(5000)
            opened.write(b"in the middle")
            opened.seek(3)
            opened.write(b"!")
            opened.truncate(8000)
            opened.seek(9000)
            opened.write(b"behind a hole")
            os.fsync(opened.fileno())
        meant = bytearray(b"0123456789" * 800 + bytes(1000) + b"behind a hole")
        meant[5000:5013], meant[3:4] = b"in the middle", b"!"
        assert image.ssh(f"cat {there}/edited").stdout == bytes(meant)
        with file.open("ab") as opened:
            opened.write(b" and more")
        assert file.read_bytes() == bytes(meant) + b" and more"


@has_fuse
@shows("sshfs", "renames, links, times, modes, errors")
def test_renames_links_and_attributes(image: Pod, there: str, tmp_path: Path) -> None:
    with mounted(image, tmp_path / "mnt", there) as here:
        (here / "new").write_text("new")
        (here / "old").write_text("old")
        with (here / "old").open() as opened:
            (here / "new").rename(here / "old")
            assert opened.read() == "old"
        assert (here / "old").read_text() == "new"
        os.utime(here / "old", (OLD + 5, OLD))
        (here / "old").chmod(0o4751)
        about = (here / "old").stat()
        assert (about.st_atime, about.st_mtime, about.st_mode) == (OLD + 5, OLD, 0o104751)
        (here / "link").symlink_to("some where/else")
        assert os.readlink(here / "link") == "some where/else"
        (here / "also").hardlink_to(here / "old")
        assert shutil.disk_usage(here).total > 0
        (here / "folder").mkdir(mode=0o700)
        with pytest.raises(FileExistsError):
            (here / "folder").mkdir()
        with pytest.raises(FileNotFoundError):
            (here / "missing").read_text()
        for n in range(300):
            (here / "folder" / str(n)).touch()
        assert len(os.listdir(here / "folder")) == 300
        shutil.rmtree(here / "folder")
    shown = image.ssh(f"cd {there} && ls -A && stat -c %a old && cat also").stdout
    assert shown == b"also\nlink\nold\n4751\nnew"


@has_fuse
@shows("sshfs", "sees what the pod does")
def test_sees_what_the_pod_does(image: Pod, there: str, tmp_path: Path) -> None:
    with mounted(image, tmp_path / "mnt", there, "-odir_cache=no") as here:
        image.ssh(f"cd {there}; mkdir made; echo in the pod >made/there")
        assert (here / "made" / "there").read_text() == "in the pod\n"


@has_fuse
@shows("sshfs", "a tree of odd files, both ways")
def test_a_tree(image: Pod, there: str, tmp_path: Path) -> None:
    tree = odd_tree(tmp_path / "tree")
    with mounted(image, tmp_path / "mnt", there) as here:
        subprocess.run(["cp", "-a", str(tree), str(here / "tree")], check=True, timeout=60)
    # Another mount, which has nothing of it in its memory.
    with mounted(image, tmp_path / "again", there) as here:
        subprocess.run(["cp", "-a", str(here / "tree"), str(tmp_path / "back")], check=True)
    assert listed(tree) == listed(tmp_path / "back")
