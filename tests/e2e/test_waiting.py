"""ssh to a pod that isn't there yet: it waits, and says what for where somebody looks."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .dev import Dev, Pod, eventually, make_key, output
from .terminal import Terminal

KUBECTL = str(Path(sys.executable).with_name("kubectl"))
NODE = {"kgpu.net/gpu-model": "rtx3090"}


@contextmanager
def full_node(dev: Dev) -> Iterator[None]:
    """Fill the rtx3090 node's memory with somebody else's pod while the block runs."""
    config = next(dev.state.rglob("kubectl.kubeconfig"))
    kubectl = [KUBECTL, "--kubeconfig", str(config), "-n", "default"]
    hog = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "hog"},
        "spec": {
            "nodeSelector": NODE,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main",
                    "image": "bare:latest",
                    "command": ["sleep", "1000"],
                    "resources": {"requests": {"memory": "511Gi"}, "limits": {"memory": "511Gi"}},
                }
            ],
        },
    }
    output([*kubectl, "create", "--validate=false", "-f", "-"], stdin=json.dumps(hog).encode())
    output([*kubectl, "wait", "--for=condition=Ready", "pod/hog", "--timeout=30s"])
    try:
        yield
    finally:
        output([*kubectl, "delete", "pod", "hog", "--wait=true"])


@contextmanager
def waiting(dev: Dev, folder: Path) -> Iterator[Pod]:
    """Rent a pod; its node is full while the block runs."""
    key = make_key(folder / "key")
    with full_node(dev):
        public = key.with_suffix(".pub").read_text()
        wish = {"ssh_pubkey": public, "gpu_model": "rtx3090", "gpu_count": 0}
        answer = dev.api("POST", "/pods", wish)
        assert answer["_status"] == 200, answer
        pod = Pod(dev, answer["pod_id"], key)
        eventually(lambda: str(pod.view()["pending_reason"]).startswith("Unschedulable"))
        yield pod


def test_a_command_waits_in_silence_and_then_runs(dev: Dev, tmp_path: Path) -> None:
    with waiting(dev, tmp_path) as pod:
        client = pod.start("cat; echo in; exit 3")
        assert client.stdin
        client.stdin.write(b"sent before there was a pod\n")
        client.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(0.5)
    out, err = client.communicate(timeout=30)
    assert (client.returncode, out, err) == (3, b"sent before there was a pod\nin\n", b"")
    pod.release()


def test_a_terminal_sees_what_it_waits_for(dev: Dev, tmp_path: Path) -> None:
    with waiting(dev, tmp_path) as pod:
        terminal = Terminal(pod.argv("-tt"), columns=132, rows=43)
        terminal.until(b"kgpud: waiting for the pod: Unschedulable: 0/5 nodes are available")
    terminal.until(b"# ")
    assert pod.pod_id.encode() + b" | no GPU | 600 credits/h | balance lasts 1" in terminal.seen
    assert b"its disk ends with the rental" in terminal.seen
    terminal.type(b"stty size; exit 4\r")
    terminal.until(b"43 132")
    assert terminal.close() == 4
    pod.release()


def test_a_rental_that_ends_meanwhile_ends_the_wait(dev: Dev, tmp_path: Path) -> None:
    with waiting(dev, tmp_path) as pod:
        terminal = Terminal(pod.argv("-tt"))
        terminal.until(b"waiting for the pod")
        pod.release()
        terminal.until(b"kgpud: the rental was released; its disk is destroyed")
        assert terminal.close() == 255


def test_a_client_that_leaves_meanwhile_runs_nothing(dev: Dev, tmp_path: Path) -> None:
    with waiting(dev, tmp_path) as pod:
        gone = pod.start("touch /workspace/ran")
        with pytest.raises(subprocess.TimeoutExpired):
            gone.wait(0.5)
        gone.kill()
        gone.communicate()
    assert pod.ssh("ls /workspace").stdout == b""
    pod.release()
