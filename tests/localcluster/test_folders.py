import os
import secrets
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from kgpud.localcluster import folders


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
