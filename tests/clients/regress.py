"""OpenSSH's own regression scripts (Debian's openssh-tests) against a pod."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.dev import Pod, output

SCRIPTS = Path("/usr/lib/openssh/regress")
HARNESS = Path(__file__).with_suffix(".sh")
SECONDS = 110.0
# They wait for order, not for time: a tenth of it keeps the order.
SLEEP = """#!/bin/sh
exec /bin/sleep "${1%?}.${1#"${1%?}"}"
"""


@dataclass(frozen=True)
class Shared:
    """A folder that the pod's sessions and this machine's programs see under one path."""

    pod: Pod
    path: Path
    hurried: bool

    @property
    def owner(self) -> int:
        return self.path.stat().st_uid

    def run(self, name: str, data_bytes: int) -> "subprocess.CompletedProcess[str]":
        """Run a script as who owns the pod's files; 0 is ok, 77 was skipped, its lines are said."""
        work = self.path / name
        work.mkdir()
        env = self.pod.dev.env
        private = self._given(self.pod.key, work / "identity")
        known_hosts = self._given(Path(env["KGPU_KNOWN_HOSTS"]), work / "server")
        harness = self._given(HARNESS, work / HARNESS.name)
        os.chown(work, self.owner, self.owner)
        told = {
            "HOST": env["KGPU_SSH_HOST"],
            "PORT": self.pod.port,
            "KEY": str(private),
            "KNOWN_HOSTS": str(known_hosts),
            "DATA_BYTES": str(data_bytes),
            "PATH": f"{self.path}/bin:{os.environ['PATH']}" if self.hurried else os.environ["PATH"],
        }
        argv = ["sh", str(harness), str(work), str(SCRIPTS / f"{name}.sh")]
        # ssh wants an account that has a name: the owner is root in a namespace of its own.
        renamed = {"user": self.owner, "group": self.owner, "extra_groups": []}
        if os.geteuid() != 0:
            renamed = {}
        done: subprocess.CompletedProcess[str] = subprocess.run(
            ["unshare", "-r", *argv] if renamed else argv,
            cwd=work,
            env=told,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            **renamed,  # type: ignore[call-overload]
        )
        return done

    def _given(self, file: Path, where: Path) -> Path:
        shutil.copyfile(file, where)
        where.chmod(0o600)
        os.chown(where, self.owner, self.owner)
        return where


def share(pod: Pod, *, hurried: bool) -> Shared:
    """Make such a folder in a pod of the local cluster.

    The path is the one that it has on this machine, and in the pod a link of that name leads there.
    """
    inside = f"/tmp/{pod.pod_id}"
    output(pod.argv(f"mkdir -m 755 {inside}"))
    places = (pod.dev.state / "pods", Path("/var/tmp"))
    [path] = [one for top in places for one in top.glob(f"*/pod-*/containers/*/rootfs{inside}")]
    output(pod.argv(f"mkdir -p {path.parent} && ln -s {inside} {path}"))
    shared = Shared(pod, path, hurried)
    if hurried:
        (path / "bin").mkdir()
        (path / "bin" / "sleep").write_text(SLEEP)
        (path / "bin" / "sleep").chmod(0o755)
        output(pod.argv(f"cp {inside}/bin/sleep /usr/local/bin/sleep"))
    return shared
