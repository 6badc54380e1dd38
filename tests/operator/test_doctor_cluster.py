"""What the doctor finds of the API server, its rights and its nodes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from kgpud.catalog_settings import GpuClass
from kgpud.cluster_settings import Kubernetes
from kgpud.config import Config
from kgpud.doctor import fleet, server
from kgpud.doctor.findings import Verdict
from tests.lies.kubeconfig import write_kubeconfig

from .doctoring import found_by, verdicts
from .installing import Installed
from .test_rights import without


async def test_a_right_that_is_missing_is_named(
    prepared: Installed, patient_config: Config
) -> None:
    with without(prepared, "pods/exec", "create"):
        found = await found_by(server.rights, patient_config)
    assert verdicts(found, Verdict.FAIL) == {"may use pods/exec"}
    assert found["may use pods/exec"].detail.startswith("may not create: ssh")


async def test_rights_to_everything_are_warned_of(
    prepared: Installed, patient_config: Config
) -> None:
    admin = Kubernetes(prepared.cluster.state / "kubeconfig")
    found = await found_by(server.rights, replace(patient_config, cluster=admin))
    assert verdicts(found, Verdict.WARN) == {"rights"}


@asynccontextmanager
async def api_server(folder: Path, **said: str) -> AsyncIterator[Path]:
    """Serve /version with the headers and the version that are said; yield a kubeconfig."""

    async def version(_request: web.Request) -> web.Response:
        headers = {"Date": said["date"]} if "date" in said else {}
        return web.json_response({"gitVersion": said.get("version", "v1.34.1")}, headers=headers)

    app = web.Application()
    app.router.add_get("/version", version)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield write_kubeconfig(folder, runner.addresses[0][1])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("said", "check", "verdict"),
    [
        ({"version": "v1.34.1+k3s1"}, "version", Verdict.OK),
        ({"version": "v1.29.0"}, "version", Verdict.FAIL),
        ({"version": "v1.99.0"}, "version", Verdict.WARN),
        ({"version": "OpenShift"}, "version", Verdict.FAIL),
        ({}, "clock", Verdict.OK),
        ({"date": "Tue, 24 Nov 2020 03:00:00 GMT"}, "clock", Verdict.FAIL),
        ({"date": "Tue, 24 Nov 2099 03:00:00 GMT"}, "clock", Verdict.FAIL),
        ({"date": "yesterday"}, "clock", Verdict.SKIP),
    ],
)
async def test_what_an_api_server_says_of_itself_is_judged(
    tmp_path: Path, patient_config: Config, said: dict[str, str], check: str, verdict: Verdict
) -> None:
    async with api_server(tmp_path, **said) as kubeconfig:
        config = replace(patient_config, cluster=Kubernetes(kubeconfig))
        found = await found_by(server.reachable, config)
    assert found[check].verdict is verdict, found[check]


async def test_workers_that_can_not_be_used_are_named(
    prepared: Installed, patient_config: Config
) -> None:
    prepared.kubectl("cordon", "node-v100")
    try:
        found = await found_by(fleet.nodes, patient_config)
    finally:
        prepared.kubectl("uncordon", "node-v100")
    assert found["node node-v100"].remedy.startswith("kubectl uncordon node-v100")
    assert found["nodes"].verdict is Verdict.FAIL
    product = "NVIDIA-GeForce-RTX-4090"
    assert product in found["node node-rtx4090"].detail
    known = {"mine": GpuClass(1, products=(product,)), **patient_config.gpu}
    prepared.kubectl("label", "node", "node-rtx4090", "kgpu.net/gpu-model-")
    try:
        found = await found_by(fleet.nodes, replace(patient_config, gpu=known))
    finally:
        prepared.kubectl("label", "node", "node-rtx4090", "kgpu.net/gpu-model=rtx4090")
    assert found["class mine"].detail == "1 of 1 GPUs free, nodes: 1"
    assert "no kernels" in found["class v100"].remedy


@pytest.mark.parametrize(
    ("compute", "kernels", "has"),
    [
        ("7.0", ("7.5", "8.0"), False),
        ("8.6", ("8.0",), True),
        ("8.0", ("8.6",), False),
        ("12.0", ("10.0",), False),
        ("12.0", ("12.0",), True),
        ("", ("8.0",), True),
        ("7.0", (), True),
    ],
)
def test_which_cards_kernels_run_on(compute: str, kernels: tuple[str, ...], has: bool) -> None:
    assert fleet._has_kernels(compute, kernels) is has
