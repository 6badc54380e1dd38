"""What the doctor finds of the API server, its rights, its nodes, and from inside its canaries."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from gateway.capture import Completed
from gateway.protocols import ApiServer
from kgpud.catalog_settings import GpuClass
from kgpud.cluster import canaries
from kgpud.cluster.manifests import Installation
from kgpud.cluster_settings import Kubernetes, Pods
from kgpud.config import Config
from kgpud.doctor import fleet, inside, network, server
from kgpud.doctor.findings import Finding, Verdict
from kgpud.doctor.patient import Canary, Patient
from kgpud.object_settings import S3, Objects
from tests.lies.kubeconfig import write_kubeconfig

from .doctoring import found_by, patient, verdicts
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


def test_an_api_server_that_anybody_could_answer_for_is_told() -> None:
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    nameless = ApiServer("https://10.0.0.2:6443", unchecked)
    assert server._unguarded(nameless) == "its certificate is not checked"
    unchecked.verify_mode = ssl.CERT_NONE
    assert server._unguarded(nameless) == "its certificate is not checked"
    assert server._unguarded(ApiServer("http://10.0.0.2:8001")) == "it is asked without TLS"
    for safe in ("https://10.0.0.2:6443", "http://127.0.0.1:8001", "http://[::1]:8001"):
        context = ssl.create_default_context() if safe.startswith("https") else None
        assert server._unguarded(ApiServer(safe, context)) is None


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
    product, label = "NVIDIA-GeForce-RTX-4090", "kgpu.net/gpu-model=rtx4090"
    assert f"is labelled {label}, which is no class" in found["node node-rtx4090"].detail
    assert "--overwrite node node-rtx4090" in found["node node-rtx4090"].remedy
    known = {"mine": GpuClass(1, products=(product,)), **patient_config.gpu}
    prepared.kubectl("label", "node", "node-rtx4090", "kgpu.net/gpu-model-")
    try:
        found = await found_by(fleet.nodes, replace(patient_config, gpu=known))
        stranger = (await found_by(fleet.nodes, patient_config))["node node-rtx4090"]
    finally:
        prepared.kubectl("label", "node", "node-rtx4090", label)
    assert product in stranger.detail
    assert f'add "{product}" to the products' in stranger.remedy
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


def judged(stdout: bytes, code: int = 7, *, timed_out: bool = False) -> Finding:
    data = b"x" * (1 << 20)
    done = Completed(code, stdout, b"", truncated=False, timed_out=timed_out)
    return inside._judged(done, data, 1.0)


def test_an_exec_that_loses_or_changes_something_fails() -> None:
    data = b"x" * (1 << 20)
    assert judged(data).verdict is Verdict.OK
    assert "0 of 64 MiB" in judged(data[:-1]).detail
    assert "0 of 64 MiB came back in 60 s" in judged(b"", 124, timed_out=True).detail
    assert "are others" in judged(data[:-1] + b"y").detail
    assert "end of a command's input" in judged(data, 124, timed_out=True).detail
    assert "exit code 0 instead of 7" in judged(data, 0).detail


@pytest.fixture
async def canary(
    prepared: Installed, patient_config: Config
) -> AsyncIterator[tuple[Patient, Canary]]:
    """A pod with two GPUs that a canary may be said to be."""
    async with patient(patient_config) as one:
        ours = Installation.of(patient_config, "", "http://127.0.0.1:1/v1")
        image = patient_config.images.default
        made = canaries.pod("two", "v100", 2, image, ours, seconds=900)
        await one.cluster.create_pod(made)
        ready = ("wait", "--for=condition=Ready", "pod/two", "--timeout=30s")
        prepared.kubectl("-n", "kgpu", *ready)
        yield one, Canary("two", "v100", 2, "node-v100", "127.0.0.1")
        await one.cluster.delete_pod("two", 0)


async def test_a_canary_that_sees_more_or_is_reached_is_told(
    canary: tuple[Patient, Canary],
) -> None:
    one, two = canary
    assert (await inside._gpus(one, two, "it")).verdict is Verdict.OK
    more = await inside._gpus(one, replace(two, gpu_count=1), "it")
    assert (more.verdict, "asked for 1, sees 2" in more.detail) == (Verdict.FAIL, True)
    # A pod reaches itself as an unprotected neighbour would be reached.
    reached = await network._neighbour(one, two, two)
    assert (reached.verdict, "reach each other" in reached.detail) == (Verdict.FAIL, True)
    apart = await network._neighbour(one, two, replace(two, address="10.67.0.99"))
    assert apart.verdict is Verdict.OK


async def test_root_in_a_pod_is_nobody_where_that_is_asked_for(
    canary: tuple[Patient, Canary],
) -> None:
    one, two = canary
    one.canaries = (two,)
    assert [f async for f in inside.user_namespaces(one)] == []
    one.config = replace(one.config, pods=Pods(host_users=False))
    [found] = [f async for f in inside.user_namespaces(one)]
    assert (found.check, found.verdict) == ("users of node-v100", Verdict.OK), found
    assert inside._mapped("it", b"         0          0 4294967295\n").verdict is Verdict.FAIL
    assert inside._mapped("it", b"").verdict is Verdict.FAIL


def test_the_links_addresses_of_a_pod() -> None:
    seen = (
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fe8000000000000098f6fffffe54ac71 02 40 20 80     eth0\n"
        "fd000000000000000000000000000009 02 40 00 80     eth0\n"
    )
    assert network._links(seen) == ["fe80::98f6:ffff:fe54:ac71%eth0"]
    assert network._links("cat: no such file") == []


async def test_pods_that_reach_nothing_at_all_prove_no_policy(
    canary: tuple[Patient, Canary],
) -> None:
    one, two = canary
    one.canaries = (two, two)
    bucket = S3(endpoint="https://127.0.0.1:9", bucket="data")
    one.config = replace(one.config, objects=Objects(store="s3", s3=bucket))
    found = {finding.check: finding async for finding in network.reach(one)}
    assert found["pods reach the internet"].verdict is Verdict.WARN
    assert found["pods reach the objects"].verdict is Verdict.FAIL
    assert "network.allow" in found["pods reach the objects"].remedy
    assert found["network policy"].verdict is Verdict.SKIP


@pytest.mark.parametrize(
    ("objects", "where"),
    [
        (Objects(store="s3", s3=S3(endpoint="http://minio:9000", bucket="data")), "minio:9000"),
        (
            Objects(store="s3", s3=S3("https://s3.lab", bucket="data", addressing="virtual")),
            "data.s3.lab:443",
        ),
        (Objects(store="s3", s3=S3(bucket="data")), "None"),
        (Objects(), "None"),
    ],
)
def test_where_presigned_urls_lead(objects: Objects, where: str) -> None:
    assert str(network._store(objects)) == where
