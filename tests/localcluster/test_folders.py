import os
import secrets
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from pathlib import Path

import aiohttp
import pytest

from kgpud.localcluster import bare_image, folders, rootfs, volumes
from kgpud.localcluster.cluster import pod_address

from .clusters import Api, anywhere, running, until


def test_a_folder_can_be_taken_while_another_cluster_sweeps(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    done = threading.Event()

    def sweep() -> None:
        while not done.is_set():
            folders.remove_orphans()

    sweeping = threading.Thread(target=sweep)
    sweeping.start()
    try:
        for _ in range(400):
            with folders.pods_folder(tmp_path) as folder:
                assert folder.is_dir()
    finally:
        done.set()
        sweeping.join()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="the folders in /var/tmp are root's")
def test_what_a_killed_cluster_left_running_is_ended() -> None:
    folder = Path(f"/var/tmp/kgpud-pods-{secrets.token_hex(8)}")
    (folder / "bwrap").mkdir(0o711, parents=True)
    program = shutil.copy("/bin/sleep", folder / "bwrap")
    with subprocess.Popen([program, "1000"]) as left, subprocess.Popen(["sleep", "1000"]) as other:
        try:
            folders.remove_orphans()
            assert left.wait(10) == -signal.SIGKILL
            assert other.poll() is None
        finally:
            left.kill()
            other.kill()
    assert not folder.exists()


def _deep(folder: Path, levels: int) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _level in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_a_tree_goes_whatever_is_in_it_and_nothing_else_does(tmp_path: Path) -> None:
    keep, tree = tmp_path / "keep", tmp_path / "tree"
    (keep / "inside").mkdir(parents=True)
    keep.chmod(0o750)
    for number in range(20):
        (tree / f"{number}/below").mkdir(parents=True)
        (tree / f"{number}/file").write_text("x")
        (tree / f"{number}/below").chmod(0)
    (tree / "5").chmod(0o500)
    (tree / "out").symlink_to(keep)
    os.mkfifo(tree / "pipe")
    _deep(tree, 2000)
    before = len(os.listdir("/proc/self/fd"))
    for path in (tree, tree, tmp_path / "missing"):
        folders.remove_tree(path)
    assert len(os.listdir("/proc/self/fd")) == before
    (tmp_path / "link").symlink_to(keep)
    folders.remove_tree(tmp_path / "link")
    (tmp_path / "file").write_text("x")
    folders.remove_tree(tmp_path / "file")
    (tmp_path / "by").symlink_to(tmp_path)
    tree.mkdir()
    folders.remove_tree(tmp_path / "by/tree")
    (tmp_path / "by").unlink()
    assert [one.name for one in tmp_path.iterdir()] == ["keep"]
    assert (keep.stat().st_mode & 0o777, list(keep.iterdir())) == (0o750, [keep / "inside"])


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user can't mount")
def test_what_is_mounted_in_a_tree_stays(tmp_path: Path) -> None:
    keep, inside = tmp_path / "keep", tmp_path / "tree/inside"
    for folder in (keep, inside):
        folder.mkdir(parents=True)
    (keep / "file").write_text("x")
    done = subprocess.run(["mount", "--bind", keep, inside], check=False, capture_output=True)
    if done.returncode != 0:
        pytest.skip("root can't mount here")
    try:
        with pytest.raises(OSError, match="busy"):
            folders.remove_tree(tmp_path / "tree")
    finally:
        subprocess.run(["umount", inside], check=True)
    assert (keep / "file").read_text() == "x"
    folders.remove_tree(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == [keep]


async def test_a_pod_that_cannot_be_removed_ends_no_other(
    as_nobody: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    def is_told() -> bool:
        said.append(capfd.readouterr().err)
        return "goes: its folder stays until the next start" in "".join(said)

    with anywhere() as folder, running(folder / "state", python=as_nobody) as cluster:
        pods = folder / "state/pods"
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            api = Api(session)
            for name in ("goes", "stays"):
                await api.ready(name, image="bare:latest")
            pods.chmod(0o500)
            await api.delete("goes")
            await until(is_told)
            assert (await api.execute("stays", "true")).code == 0
        pods.chmod(0o700)
        assert cluster.stop() == 0
        assert not pods.exists()


def test_files_of_volumes_are_made_after_an_attempt_that_failed(tmp_path: Path) -> None:
    folder = rootfs.PodFolder(tmp_path / "pod", None)
    for text in (b"half", b"whole"):
        volumes.make(folder, {"v": {"file": (text, 0o644)}})
    assert (folder.volumes / "v/file").read_bytes() == b"whole"


def test_pods_of_a_bare_image_that_begin_at_once_share_it(tmp_path: Path) -> None:
    roots = [tmp_path / f"root-{number}" for number in range(8)]
    images = tmp_path / "images"
    for made in (images, *roots):
        made.mkdir()
    with ThreadPoolExecutor(len(roots)) as threads:
        found = list(threads.map(lambda root: bare_image.lay_out(root, images), roots))
    assert found == [["--ro-bind", str(images / "bare"), "/bin"]] * len(roots)
    assert [one.name for one in images.iterdir()] == ["bare"]


def test_every_pod_has_an_address() -> None:
    network = ip_network("10.67.0.0/16")
    found = [ip_address(pod_address(number)) for number in range(0, 200_000, 97)]
    assert all(one in network for one in found)
    assert pod_address(0) != pod_address(1)
