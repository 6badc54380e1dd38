"""A daemon that is killed under a rental, and the one after it."""

import signal
from pathlib import Path

import pytest

from tests.e2e.dev import Pod, eventually, make_key

from .conftest import Target, running


# In the suite, tests/e2e has its like.
@pytest.mark.slow
def test_a_rental_outlives_its_daemon_and_ends_with_its_key(
    target: Target, folder: Path, tmp_path: Path
) -> None:
    key = make_key(tmp_path / "key")
    with running(target, folder) as site:
        pod = site.rent(key, gpu_count=0)
        with pod.start("echo up; cat") as client:
            assert client.stdout
            assert client.stdout.readline() == b"up\n"
            site.dev.process.send_signal(signal.SIGKILL)
            assert client.wait(60) == 255
    with running(target, folder, site.dev.env["KGPU_API_TOKEN"]) as again:
        pod = Pod(again.dev, pod.pod_id, key)
        assert pod.ssh("exit 9").returncode == 9
        assert pod.release()["end_reason"] == "returned"
        eventually(lambda: pod.view()["phase"] == "Ended", 120)
        refused = pod.ssh("true")
        assert (refused.returncode, b"Permission denied" in refused.stderr) == (255, True)
