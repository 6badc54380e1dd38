import threading
from pathlib import Path

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
