"""A local cluster with kgpud's manifests applied, and a kubeconfig of its service account."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kgpud.cluster import install
from kgpud.config import Config
from tests.localcluster import clusters

KUBECTL = Path(sys.executable).with_name("kubectl")
# Nothing on the local cluster could stand behind these.
NOT_THERE = ("ResourceQuota", "DaemonSet")

Object = dict[str, Any]


@dataclass(frozen=True)
class Installed:
    """A cluster that an operator has prepared. `kubeconfig` is the daemon's own."""

    cluster: clusters.Running
    kubeconfig: Path
    token: str = field(repr=False)

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """Run kubectl as the administrator; return what it says."""
        return kubectl(self.cluster, *words, stdin=stdin)

    def give(self, documents: Sequence[Object]) -> None:
        """Apply objects."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))


def known(documents: Sequence[Object]) -> list[Object]:
    """Leave out what the local cluster has no kind for."""
    return [one for one in documents if one["kind"] not in NOT_THERE]


def kubectl(cluster: clusters.Running, *words: str, stdin: str = "") -> str:
    done = subprocess.run(
        [str(KUBECTL), "--kubeconfig", str(cluster.state / "kubeconfig"), *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={"HOME": str(cluster.state), "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def installed(folder: Path, config: Config | None = None, *options: str) -> Iterator[Installed]:
    """Run a cluster below `folder` and prepare it as the documents say."""
    with clusters.running(folder / "cluster", "--tls", *options) as cluster:
        text = yaml.safe_dump_all(known(install.documents(config or Config())))
        kubectl(cluster, "apply", "-f", "-", stdin=text)
        token = kubectl(cluster, "-n", "kgpu", "create", "token", "kgpud").strip()
        path = write_kubeconfig(folder / "kgpud.kubeconfig", cluster, token)
        yield Installed(cluster, path, token)


def write_kubeconfig(path: Path, cluster: clusters.Running, token: str) -> Path:
    """Write a kubeconfig that carries all it needs, as operators hand them round."""
    found = yaml.safe_load((cluster.state / "kubeconfig").read_text())
    found["users"][0]["user"] = {"token": token}
    path.write_text(json.dumps(found))
    path.chmod(0o600)
    return path
