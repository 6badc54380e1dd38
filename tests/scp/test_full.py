"""A tree that the pod's disk has no room for: said, not acknowledged, and a non-zero exit."""

import os
from pathlib import Path

import pytest

from kgpud.localcluster import bwrap

from .conftest import PODS, Server, ssh_program


@pytest.mark.parametrize("pod", ["dash", "bare"])
@pytest.mark.parametrize("size", [3000, 200_000])
def test_a_tree(tmp_path: Path, bare_path: str, pod: str, size: int) -> None:
    for name in ("src", "server", "full"):
        (tmp_path / name).mkdir()
    for number in range(600_000 // size):
        (tmp_path / f"src/{number:03}").write_bytes(os.urandom(size))
    (tmp_path / "bin").mkdir()
    small = [str(bwrap.find(tmp_path / "bin")), "--dev-bind", "/", "/", "--size", "262144"]
    shell = " ".join([*small, "--tmpfs", str(tmp_path / "full"), PODS[pod]])
    path = bare_path if pod == "bare" else os.environ["PATH"]
    server = Server(tmp_path / "server", ssh_program(tmp_path, "engine", shell, path))
    done = server.scp("-r", "src", f"POD:{tmp_path}/full")
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
