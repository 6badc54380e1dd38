"""scp -O whose stream to the pod is cut in mid-transfer: never a success, always a line."""

import re
from pathlib import Path

import pytest

from tests.e2e.dev import Pod
from tests.e2e.test_scp_faults import copying

from . import chaos
from .faults import Fault, How, Where
from .stack import Stack


@pytest.mark.parametrize("way", ["up", "down", "tree up", "tree down"])
def test_cut_in_mid_transfer(world: Stack, pod: Pod, tmp_path: Path, way: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "big").open("wb") as file:
        file.truncate(8 << 30)
    pod.ssh("mkdir -p /tmp/huge; truncate -s 8G /tmp/huge/file")
    words = {
        "up": (str(tree / "big"), "POD:/dev/null"),
        "down": ("POD:/tmp/huge/file", "/dev/null"),
        "tree up": ("-r", str(tree), "POD:/tmp/cut"),
        "tree down": ("-r", "POD:/tmp/huge", str(tmp_path / "back")),
    }[way]
    fault = Fault(How.RESET, Where.FRAME, down=way.endswith("down"), frame=40)
    world.chaos.draw = lambda _, word: fault if "KGPU_SCP" in word else None
    try:
        with copying(pod, *words) as client:
            _, err = client.communicate(timeout=60)
    finally:
        world.chaos.draw = chaos.calm
    assert str(fault) in world.chaos.done[-1]
    assert client.returncode != 0
    assert re.search(rb"^kgpud: .+\n", err, re.MULTILINE), err
    pod.ssh("rm -rf /tmp/cut")
