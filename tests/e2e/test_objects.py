"""Transit objects on the real daemon: product.md's own lines, from inside pods, and a crash."""

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .dev import STEP_SECONDS, Dev, Pod, eventually, make_key, output, rent
from .serve import front, serving, sign_up
from .test_quickstart import PRODUCT, ROOT

NAMES = {"podA": "a", "podB": "b", "podC": "c"}


@pytest.fixture(scope="module")
def pods(dev: Dev, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Pod]]:
    folder = tmp_path_factory.mktemp("pods")
    made = {name: rent(dev, make_key(folder / name), gpu_count=0) for name in NAMES}
    yield made
    for pod in made.values():
        pod.release()


@pytest.fixture
def home(dev: Dev, pods: dict[str, Pod], tmp_path: Path) -> Path:
    """Make a home with the reader's data and a ~/.ssh/config for each pod, as product.md has it."""
    (tmp_path / "mit-bih.zip").write_bytes(os.urandom(3_000_000))
    lines = [f"UserKnownHostsFile {dev.env['KGPU_KNOWN_HOSTS']}", "BatchMode yes"]
    for name, pod in pods.items():
        host, port = dev.env["KGPU_SSH_HOST"], dev.env["KGPU_SSH_PORT"]
        lines += [
            f"Host kgpu-{name} kgpu-{NAMES[name]}",
            f" HostName {host}",
            f" Port {port}",
            " User kgpu",
        ]
        lines += [f" IdentityFile {pod.key}", " IdentitiesOnly yes"]
    config = tmp_path / "config"
    config.write_text("\n".join(lines) + "\n")
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "ssh"
    shim.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {config} "$@"\n')
    shim.chmod(0o755)
    return tmp_path


def run(block: str, dev: Dev, home: Path) -> bytes:
    env = {
        **os.environ,
        "PATH": f"{home}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "B": dev.env["KGPU_API_BASE"],
        "T": dev.env["KGPU_API_TOKEN"],
    }
    argv = ["bash", "-e", "-o", "pipefail", "-c", block]
    done = subprocess.run(argv, cwd=home, env=env, capture_output=True, timeout=STEP_SECONDS)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def block(document: Path, heading: str) -> str:
    """Return the first bash block after a heading."""
    after = document.read_text().split(f"\n{heading}", 1)[1]
    return after.split("```bash\n", 1)[1].split("```", 1)[0]


@pytest.mark.skipif(not PRODUCT.exists(), reason="the product's document is not beside the clone")
def test_products_own_lines(dev: Dev, pods: dict[str, Pod], home: Path) -> None:
    said = run(block(PRODUCT, "### Large transfers"), dev, home)
    assert b'"state":"deleted"' in said
    wanted = hashlib.sha256((home / "mit-bih.zip").read_bytes()).hexdigest()
    for pod in pods.values():
        assert pod.ssh("sha256sum /tmp/data.zip").stdout.decode().split()[0] == wanted


def test_readmes_lines(dev: Dev, pods: dict[str, Pod], home: Path) -> None:
    (home / "mit-bih.zip").rename(home / "data.zip")
    said = run(block(ROOT / "README.md", "## Large data"), dev, home)
    assert said.endswith(b'"deleted"\n')
    data = (home / "data.zip").read_bytes()
    assert (home / "copy.zip").read_bytes() == data
    for pod in pods.values():
        fetched = pod.ssh("sha256sum data.zip").stdout.decode().split()[0]
        assert fetched == hashlib.sha256(data).hexdigest()


def test_from_inside_with_the_pods_own_token(dev: Dev, pods: dict[str, Pod]) -> None:
    """Any of the account's pods may: results go from pod to laptop without SSH in the way."""
    script = """
        set -e
        head -c 2000000 /dev/urandom > /workspace/model.pt
        A="Authorization: Bearer $KGPU_API_TOKEN"
        SAID=$(curl -sS -X POST -H "$A" "$KGPU_API_BASE/objects")
        URL=$(echo "$SAID" | sed 's/.*"put_url":"\\([^"]*\\)".*/\\1/')
        curl -sS -f -X PUT --upload-file /workspace/model.pt "$URL"
        echo "$SAID" | sed 's/.*"object_id":"\\([^"]*\\)".*/\\1/'
        sha256sum /workspace/model.pt
    """
    one, other = pods["podA"], pods["podB"]
    path = f"/pods/{one.pod_id}/exec"
    done = dev.api("POST", path, {"cmd": ["bash", "-c", script]})
    assert done["exit_code"] == 0, done
    object_id, digest = done["stdout"].split()[:2]
    url = dev.api("GET", f"/objects/{object_id}")["get_url"]
    assert hashlib.sha256(output(["curl", "-sSfL", url])).hexdigest() == digest
    inside = (
        f'curl -sS -H "Authorization: Bearer $KGPU_API_TOKEN" $KGPU_API_BASE/objects/{object_id}'
    )
    seen = dev.api("POST", f"/pods/{other.pod_id}/exec", {"cmd": ["sh", "-c", inside]})
    assert '"state":"ready"' in seen["stdout"]
    assert dev.api("DELETE", f"/objects/{object_id}")["state"] == "deleted"


def test_killed_in_mid_upload(config: Path, tmp_path: Path) -> None:
    """What was half there is gone, what was whole is there, and the same URLs go on."""
    data = os.urandom(3_000_000)
    folder = tmp_path / "state" / "objects"
    with serving(config) as process:
        dev = front(config, process, sign_up(config))
        whole, half = (dev.api("POST", "/objects", {"size_bytes": len(data)}) for _ in range(2))
        (tmp_path / "data").write_bytes(data)
        upload = ["curl", "-sSf", "--upload-file", str(tmp_path / "data")]
        output([*upload, whole["put_url"]])
        host, _, port = dev.env["KGPU_API_BASE"].split("/")[2].partition(":")
        with socket.create_connection((host, int(port))) as sock:
            target = half["put_url"].split(port, 1)[1]
            head = f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
            sock.sendall(head.encode() + data[:2_000_000])
            eventually(lambda: any(path.stat().st_size for path in folder.glob("*/incoming/*")))
            process.kill()
            process.wait()
        assert list(folder.glob("*/incoming/*"))
    with serving(config) as process:
        dev = front(config, process, dev.env["KGPU_API_TOKEN"])
        eventually(lambda: not list(folder.glob("*/incoming/*")))
        assert dev.api("GET", f"/objects/{half['object_id']}")["state"] == "pending"
        output([*upload, half["put_url"]])
        for one in (whole, half):
            url = dev.api("GET", f"/objects/{one['object_id']}")["get_url"]
            assert output(["curl", "-sSf", url]) == data
        purged = dev.api("POST", "/objects", {"label": "phi", "purge_on_release": True})
        output([*upload, purged["put_url"]])
        pod = rent(dev, make_key(tmp_path / "key"), gpu_count=0)
        assert dev.api("GET", f"/objects/{purged['object_id']}")["state"] == "ready"
        pod.release()
        eventually(lambda: dev.api("GET", f"/objects/{purged['object_id']}")["_status"] == 410)
        eventually(lambda: len(list(folder.glob("*/files/*"))) == 2)
        assert dev.api("GET", f"/objects/{whole['object_id']}")["state"] == "ready"
