"""Two machines that are both this one: a server with real scp, and one with the engine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The pod's shell, and whether busybox's tools are all it has.
PODS = {"dash": "dash", "bash": "bash", "bare": "busybox sh"}


@dataclass(frozen=True)
class Server:
    """What stands behind `HOST:`: a folder, where both ends' relative paths begin."""

    folder: Path
    ssh: Path

    def scp(self, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run the client. `POD:` begins a path on the server, `{}` its folder."""
        places = [word.replace("POD:", "pod:").replace("{}", str(self.folder)) for word in words]
        argv = ["scp", "-O", "-S", str(self.ssh), *places]
        return subprocess.run(argv, capture_output=True, timeout=seconds, cwd=self.folder.parent)


@dataclass(frozen=True)
class Both:
    """The real one and the engine."""

    real: Server
    engine: Server

    def each(self, do: Callable[[Path], object]) -> None:
        for server in (self.real, self.engine):
            do(server.folder)


@pytest.fixture(scope="session")
def bare_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bare")
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox on this machine")
    subprocess.run([busybox, "--install", "-s", str(folder)], check=True)
    return str(folder)


def ssh_program(folder: Path, kind: str, shell: str, path: str) -> Path:
    program = folder / f"ssh-{kind}"
    engine = f"POD_PATH={path} PYTHONPATH={ROOT} exec {sys.executable} -m tests.scp.here '{shell}'"
    serve = {"real": "exec sh -c", "engine": engine}[kind]
    program.write_text(f'#!/bin/sh\nfor command; do :; done\n{serve} "$command"\n')
    program.chmod(0o755)
    return program


@pytest.fixture(params=["dash", pytest.param("bash", marks=pytest.mark.slow), "bare"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Both:
    shell, path = PODS[request.param], os.environ["PATH"]
    pod_path = request.getfixturevalue("bare_path") if request.param == "bare" else path
    servers = []
    for kind in ("real", "engine"):
        folder = tmp_path / kind / "server"
        folder.mkdir(parents=True)
        tools = ("sh", path) if kind == "real" else (shell, pod_path)
        servers.append(Server(folder, ssh_program(folder.parent, kind, *tools)))
    return Both(*servers)
