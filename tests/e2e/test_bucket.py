"""Transit objects in a bucket: the bytes go from client to store to pod, and never through us."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.objects.servers import Server, rclone

from .dev import eventually, make_key, output, rent
from .serve import front, serving, sign_up, write_config


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "rclone"
    folder.mkdir()
    with rclone(folder) as server:
        yield server


@pytest.fixture
def reaching(tmp_path: Path, bucket: Server) -> Iterator[Path]:
    """Run a local cluster whose pods reach the store, as pods reach the Internet elsewhere."""
    argv = [sys.executable, "-m", "kgpud", "local-cluster", "--state", str(tmp_path / "cluster")]
    argv += ["--reach", f"127.0.0.1:{bucket.port}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        yield Path(json.loads(process.stdout.readline())["kubeconfig"])
        process.terminate()
        assert process.wait(20) == 0


def test_from_client_to_store_to_pod(reaching: Path, bucket: Server, tmp_path: Path) -> None:
    s3 = bucket.settings
    config = write_config(
        tmp_path,
        reaching,
        f'[objects]\nstore = "s3"\n[objects.s3]\nendpoint = "{s3.endpoint}"\n'
        f'bucket = "{s3.bucket}"\ncredentials = "{s3.credentials}"\n',
    )
    data = os.urandom(2_000_000)
    (tmp_path / "data").write_bytes(data)
    # A store that is away keeps nobody from renting.
    bucket.stop()
    with serving(config) as process:
        dev = front(config, process, sign_up(config))
        pod = rent(dev, make_key(tmp_path / "key"), gpu_count=0)
        bucket.start()
        made = dev.api("POST", "/objects", {"size_bytes": len(data), "purge_on_release": True})
        assert made["put_url"].startswith(s3.endpoint)
        output(["curl", "-sSf", "--upload-file", str(tmp_path / "data"), made["put_url"]])
        url = dev.api("GET", f"/objects/{made['object_id']}")["get_url"]
        three = f"for i in 1 2 3; do curl -sSfL -o $i '{url}' & done; wait"
        done = pod.ssh(f"{three}; cmp 1 2 && cmp 2 3 && cat 3")
        assert done.stdout == data, done.stderr
        back = dev.api("POST", "/objects", {"purge_on_release": True})
        done = pod.ssh(f"curl -sSf -X PUT --upload-file 1 '{back['put_url']}'")
        assert done.returncode == 0, done.stderr
        url = dev.api("GET", f"/objects/{back['object_id']}")["get_url"]
        assert output(["curl", "-sSfL", url]) == data
        pod.release()
        eventually(lambda: dev.api("GET", f"/objects/{made['object_id']}")["_status"] == 410)
        stored = tmp_path / "rclone" / "data" / s3.bucket
        eventually(lambda: not [path for path in stored.rglob("obj_*") if path.is_file()])
        said = config.with_suffix(".log")
        eventually(lambda: "object.erased" in said.read_text())
        log = said.read_text()
        for secret in ("AKIDEXAMPLE", "wJalrXUtnFEMI", "X-Amz-Signature"):
            assert secret not in log
