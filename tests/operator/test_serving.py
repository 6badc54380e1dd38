"""The daemon on a cluster that an operator has prepared: with its role alone, as nodes change."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.dev import Dev, Pod, eventually, make_key, rent
from tests.e2e.serve import front, serving, sign_up, write_config

from .installing import Installed


@pytest.fixture(scope="module")
def dev(prepared: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A daemon that nothing was forbidden to in the end."""
    folder = tmp_path_factory.mktemp("serving")
    config = write_config(folder, prepared.kubeconfig)
    with serving(config) as process:
        yield front(config, process, sign_up(config))
    log = config.with_suffix(".log").read_text()
    assert not re.search("forbidden|Forbidden|Traceback", log), log


def menu(dev: Dev) -> dict[str, int]:
    return {line["gpu_model"]: line["free"] for line in dev.api("GET", "/gpu-models")}


def test_the_daemon_rents_serves_and_releases_with_its_role_alone(
    prepared: Installed, dev: Dev, tmp_path: Path
) -> None:
    pod: Pod = rent(dev, make_key(tmp_path / "key"))
    assert pod.ssh("cat; exit 7", stdin=b"hello").returncode == 7
    pod.scp("-O", str(tmp_path / "key.pub"), "POD:/workspace/")
    assert dev.api("PATCH", f"/pods/{pod.pod_id}", {})["_status"] == 200
    assert pod.release()["end_reason"] == "returned"
    eventually(lambda: pod.view()["phase"] == "Ended")
    left = prepared.kubectl("-n", "kgpu", "get", "secrets", "-o", "name")
    assert pod.pod_id not in left


def test_a_worker_is_known_by_its_product_and_rented(
    prepared: Installed, dev: Dev, tmp_path: Path
) -> None:
    prepared.kubectl("label", "node", "node-rtx4090", "kgpu.net/gpu-model-")
    try:
        pod = rent(dev, make_key(tmp_path / "key"), gpu_model="rtx4090")
        nodes = {one["hostname"]: one["busy"] for one in dev.api("GET", "/cluster")}
        assert nodes["node-rtx4090"] == 1
        pod.release()
    finally:
        prepared.kubectl("label", "node", "node-rtx4090", "kgpu.net/gpu-model=rtx4090")


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (("cordon", "node-v100"), ("uncordon", "node-v100")),
        (("taint", "node", "node-v100", "a=b:NoSchedule"), ("taint", "node", "node-v100", "a-")),
    ],
)
def test_a_worker_that_takes_nothing_new_leaves_the_menu_and_comes_back(
    prepared: Installed, dev: Dev, change: tuple[str, ...], back: tuple[str, ...]
) -> None:
    assert "v100" in menu(dev)
    prepared.kubectl(*change)
    try:
        eventually(lambda: "v100" not in menu(dev))
        [node] = [one for one in dev.api("GET", "/cluster") if one["hostname"] == "node-v100"]
        assert (node["free"], node["cordoned"], node["total"]) == (0, True, 4)
    finally:
        prepared.kubectl(*back)
    eventually(lambda: "v100" in menu(dev))
