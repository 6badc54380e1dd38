"""Host keys as users meet them: published, and rotated under a client that checks strictly."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from .dev import Dev, Pod, make_key, output, rent, running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Dev]:
    """A daemon whose host key may be changed."""
    with running(tmp_path / "state") as started:
        yield started


def host_key(dev: Dev, step: str) -> str:
    argv = [sys.executable, "-m", "kgpud", "host-key", step, "--state", str(dev.state)]
    return output(argv).decode()


def ssh(pod: Pod, known_hosts: Path, update: str) -> subprocess.CompletedProcess[bytes]:
    env = {**pod.dev.env, "KGPU_KNOWN_HOSTS": str(known_hosts)}
    other = Pod(replace(pod.dev, env=env), pod.pod_id, pod.key)
    return other.ssh(f"-oUpdateHostKeys={update}", "true")


def test_keys_are_published_as_ssh_wants_them(own: Dev, tmp_path: Path) -> None:
    url = own.env["KGPU_API_BASE"] + "/ssh-host-keys"
    [key] = own.api("GET", "/ssh-host-keys", token="nobody")
    assert key["public_key"] == own.env["KGPU_SSH_HOST_KEY"]
    assert key["fingerprint"] == own.env["KGPU_SSH_HOST_KEY_FINGERPRINT"]
    assert (key["type"], key["serving"]) == ("ssh-ed25519", True)
    known_hosts = tmp_path / "mine"
    script = f"curl -sSf {url} | jq -r '.[].known_hosts' >{known_hosts}"
    output(["bash", "-o", "pipefail", "-c", script])
    told = output(["ssh-keygen", "-l", "-f", str(known_hosts)]).decode()
    assert key["fingerprint"] in told
    pod = rent(own, make_key(tmp_path / "key"))
    assert ssh(pod, known_hosts, "no").returncode == 0


def test_a_rotation_breaks_no_known_hosts(own: Dev, tmp_path: Path) -> None:
    pod = rent(own, make_key(tmp_path / "key"))
    follows, stays = tmp_path / "follows", tmp_path / "stays"
    for file in (follows, stays):
        file.write_bytes(Path(own.env["KGPU_KNOWN_HOSTS"]).read_bytes())
    assert ssh(pod, follows, "yes").returncode == 0
    session = pod.start("echo in; cat")
    assert session.stdout
    assert session.stdout.readline() == b"in\n"

    host_key(own, "announce")
    assert "already" in host_key_refused(own, "announce")
    old, new = own.api("GET", "/ssh-host-keys", token="nobody")
    assert (old["serving"], new["serving"]) == (True, False)
    assert new["fingerprint"] in host_key(own, "show")
    for file, update in ((follows, "yes"), (stays, "no")):
        assert ssh(pod, file, update).returncode == 0
    assert new["public_key"] in follows.read_text()
    assert new["public_key"] not in stays.read_text()

    host_key(own, "switch")
    assert "no successor" in host_key_refused(own, "switch")
    [serving] = own.api("GET", "/ssh-host-keys", token="nobody")
    assert (serving["public_key"], serving["serving"]) == (new["public_key"], True)
    done = ssh(pod, follows, "yes")
    assert (done.returncode, done.stderr) == (0, b"")
    assert old["public_key"] not in follows.read_text()
    done = ssh(pod, stays, "no")
    assert (done.returncode, b"HOST IDENTIFICATION HAS CHANGED" in done.stderr) == (255, True)
    # Who was inside notices nothing.
    assert session.communicate(b"still here", timeout=20) == (b"still here", b"")
    assert session.returncode == 0


def host_key_refused(dev: Dev, step: str) -> str:
    argv = [sys.executable, "-m", "kgpud", "host-key", step, "--state", str(dev.state)]
    done = subprocess.run(argv, capture_output=True, timeout=20)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    return done.stderr.decode()
