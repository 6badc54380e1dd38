"""`kgpud doctor` against real faults: what it finds, says and exits with, and what it leaves."""

import asyncio
import json
import signal
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner

from gateway.executor import Executor
from kgpud import statefolder
from kgpud.catalog_settings import GpuClass, Images
from kgpud.cli import main
from kgpud.clock import SystemClock
from kgpud.cluster import canaries as pods
from kgpud.cluster.client import Cluster
from kgpud.cluster.manifests import Installation
from kgpud.cluster_settings import Kubernetes
from kgpud.config import Address, Config
from kgpud.doctor import canaries, fleet, front, house, objects, server
from kgpud.doctor.findings import Finding, Verdict
from kgpud.doctor.patient import Patient
from kgpud.doctor.rounds import Check, Look, _carry_out
from kgpud.http_settings import Http
from kgpud.object_settings import Folder, Objects
from kgpud.objects.s3_client import S3Client
from store.db import Database
from tests.e2e.dev import eventually, make_key
from tests.e2e.serve import free_port, serving, write_config
from tests.lies.kubeconfig import write_kubeconfig
from tests.objects.servers import rclone

from .certificates import certificate
from .installing import Installed, installed
from .test_rights import without

V100 = {"v100": GpuClass(600, "Tesla V100", (), "7.0")}


def examined(config: Path, *words: str) -> tuple[int, dict[str, Finding]]:
    """Run the command; return its exit code and what it found, by check."""
    result = CliRunner().invoke(main, ["doctor", "--config", str(config), "--json", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    told = json.loads(result.stdout)
    assert told["ok"] is (result.exit_code == 0)
    found = [Finding(**{**one, "verdict": Verdict(one["verdict"])}) for one in told["checks"]]
    for finding in found:
        wrong = finding.verdict in (Verdict.WARN, Verdict.FAIL)
        assert bool(finding.remedy) is wrong, finding
    return result.exit_code, {finding.check: finding for finding in found}


def verdicts(found: dict[str, Finding], verdict: Verdict) -> set[str]:
    return {name for name, finding in found.items() if finding.verdict is verdict}


@pytest.fixture
def patient_config(prepared: Installed, tmp_path: Path) -> Config:
    """An installation that has one class and has never run."""
    state = tmp_path / "state"
    return Config(
        state=state,
        http=Http(Address("127.0.0.1", free_port())),
        cluster=Kubernetes(prepared.kubeconfig),
        gpu=V100,
    )


@asynccontextmanager
async def patient(config: Config, seconds: float = 20) -> AsyncIterator[Patient]:
    async with Cluster.of(config.cluster) as cluster:
        yield Patient(None, config, cluster, Executor(cluster), SystemClock(), seconds)


async def found_by(look: Look, config: Config) -> dict[str, Finding]:
    async with patient(config) as one:
        return {f.check: f for f in await _carry_out(Check("it", look, 20), one)}


def test_a_healthy_installation_has_nothing_that_fails(tmp_path: Path) -> None:
    config = write_config(tmp_path, tmp_path / "kgpud.kubeconfig")
    lines = config.read_text().splitlines()
    http = next(line.split('"')[1] for line in lines if line.startswith("listen"))
    config.write_text(config.read_text() + "[gpu.v100]\nprice_per_hour = 6\n[gpu.rtx4090]\n"
                      "price_per_hour = 9\ncompute = '8.9'\n")  # fmt: skip
    with installed(tmp_path, None, "--reach", http) as cluster, serving(config):
        code, found = examined(config)
        assert cluster.kubectl("-n", "kgpu", "get", "pods", "-o", "name") == ""
    assert (code, verdicts(found, Verdict.FAIL)) == (0, set())
    assert verdicts(found, Verdict.OK) >= {
        "configuration", "state folder", "database", "host key", "cluster", "version", "clock",
        "may use pods", "may use pods/exec", "may use secrets", "may use nodes", "class v100",
        "class rtx4090", "default image", "canary v100", "canary rtx4090", "canary neighbour",
        "exec", "GPUs of v100", "GPUs of rtx4090", "clock of node-v100", "pods reach the API",
        "network policy", "objects", "API", "bastion",
    }  # fmt: skip
    assert verdicts(found, Verdict.SKIP) == {"node addresses", "TLS"}
    warned = verdicts(found, Verdict.WARN)
    assert warned == {"pods reach the internet", *(f"node node-rtx{n}" for n in (3080, 3090, 5090))}


def test_a_mistake_in_the_configuration_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "kgpud.toml"
    path.write_text("[cluster]\nnamespce = 'x'")
    code, found = examined(path)
    assert (code, list(found)) == (1, ["configuration"])
    shown = CliRunner().invoke(main, ["doctor", "--config", str(path)]).stdout.splitlines()
    assert shown[0].split()[:2] == ["configuration", "fail"]
    assert shown[1].strip().startswith("→ ")


@pytest.mark.parametrize(
    ("kubeconfig", "detail"),
    [
        ("{", "can't use"),
        ("a: [", "can't use"),
        ('{"clusters": []}', "can't use"),
        (None, "can't use"),
        ("closed port", "API server: ClientConnectorError"),
        ("wrong token", "401"),
    ],
)
def test_a_cluster_that_can_not_be_asked_fails_and_the_rest_is_skipped(
    prepared: Installed, tmp_path: Path, kubeconfig: str | None, detail: str
) -> None:
    path = tmp_path / "kubeconfig"
    if kubeconfig == "closed port":
        write_kubeconfig(tmp_path, free_port())
    elif kubeconfig == "wrong token":
        path.write_text(prepared.kubeconfig.read_text().replace(prepared.token, "secret-of-mine"))
    elif kubeconfig is not None:
        path.write_text(kubeconfig)
    config = tmp_path / "kgpud.toml"
    config.write_text(f'state = "{tmp_path / "state"}"\n[cluster]\nkubeconfig = "{path}"\n')
    code, found = examined(config)
    assert (code, verdicts(found, Verdict.FAIL)) == (1, {"cluster"})
    assert detail in found["cluster"].detail
    assert verdicts(found, Verdict.SKIP) >= {"rights", "nodes", "exec", "database", "API"}
    assert "secret-of-mine" not in str(found)


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


async def test_a_database_that_can_not_be_written_fails(patient_config: Config) -> None:
    path = patient_config.state / statefolder.DATABASE
    assert (await found_by(house.database, patient_config))["database"].verdict is Verdict.SKIP
    patient_config.state.mkdir(mode=0o700)
    async with Database.open(path):
        found = (await found_by(house.database, patient_config))["database"]
        assert found.verdict is Verdict.OK, found
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        found = (await found_by(house.database, patient_config))["database"]
        assert (found.verdict, "locked" in found.detail) == (Verdict.FAIL, True), found
        other.execute("ROLLBACK")
        version = other.execute("PRAGMA user_version").fetchone()[0]
        for wrong, verdict in ((version - 1, Verdict.WARN), (version + 9, Verdict.FAIL)):
            other.execute(f"PRAGMA user_version = {wrong}")
            found = (await found_by(house.database, patient_config))["database"]
            assert found.verdict is verdict, found
    other.close()
    path.write_bytes(b"garbage" * 1000)
    for tail in ("-wal", "-shm"):
        path.with_name(path.name + tail).unlink(missing_ok=True)
    found = (await found_by(house.database, patient_config))["database"]
    assert (found.verdict, "not a database" in found.detail) == (Verdict.FAIL, True), found


async def _make_database(path: Path) -> None:
    async with Database.open(path):
        pass


@pytest.fixture
def read_only(patient_config: Config) -> Iterator[Path]:
    """The database's file, which nobody may write, root included."""
    patient_config.state.mkdir(mode=0o700)
    path = patient_config.state / statefolder.DATABASE
    asyncio.run(_make_database(path))
    path.chmod(0o400)
    if (locked := subprocess.run(["chattr", "+i", str(path)], capture_output=True)).returncode:
        try:
            path.open("r+b").close()
        except PermissionError:
            pass
        else:
            pytest.skip(f"root can write anything here: {locked.stderr.decode().strip()}")
    yield path
    subprocess.run(["chattr", "-i", str(path)], capture_output=True)


async def test_a_database_that_is_read_only_fails(read_only: Path, patient_config: Config) -> None:
    found = (await found_by(house.database, patient_config))["database"]
    assert found.verdict is Verdict.FAIL, found
    assert str(read_only) in found.remedy


async def test_a_state_folder_or_host_key_that_others_can_read_is_named(
    patient_config: Config,
) -> None:
    state = patient_config.state
    state.mkdir(mode=0o755)
    assert (await found_by(house.folder, patient_config))["state folder"].verdict is Verdict.WARN
    state.chmod(0o700)
    assert (await found_by(house.folder, patient_config))["state folder"].verdict is Verdict.OK
    key = state / statefolder.HOST_KEY
    make_key(key)
    assert (await found_by(house.host_key, patient_config))["host key"].verdict is Verdict.OK
    key.chmod(0o644)
    assert "644" in (await found_by(house.host_key, patient_config))["host key"].detail
    key.write_text("-----BEGIN nonsense")
    assert (await found_by(house.host_key, patient_config))["host key"].verdict is Verdict.FAIL


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
    known = {"mine": GpuClass(1, products=(product,)), "v100": V100["v100"]}
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


async def test_an_image_that_is_not_there_is_found_twice(patient_config: Config) -> None:
    image = "docker.io/nobody/nothing:1"
    config = replace(patient_config, images=Images(default=image, local=()))
    async with patient(config, seconds=2) as one:
        assert [f async for f in fleet.nodes(one)]
        [told] = [f async for f in fleet.image(one)]
        async with canaries.flock(one) as found:
            pass
        assert (await one.cluster.list_pods()).items == []
    assert (told.verdict, "node-v100" in told.detail) == (Verdict.FAIL, True)
    assert {f.verdict for f in found} == {Verdict.FAIL}
    assert all(
        "not ready after 2 s: ErrImagePull" in f.detail or "BackOff" in f.detail for f in found
    )


async def test_canaries_of_a_run_that_died_with_its_machine_are_swept(
    prepared: Installed, patient_config: Config
) -> None:
    ours = Installation.of(patient_config, "", "http://127.0.0.1:1/v1")
    image = patient_config.images.default
    async with patient(patient_config) as one:
        for name, seconds in (("old", 1), ("young", 900)):
            made = pods.pod(name, "v100", 0, image, ours, seconds=seconds)
            await one.cluster.create_pod(made)
        why = ("-n", "kgpu", "get", "pod", "old", "-o", "jsonpath={.status.reason}")
        eventually(lambda: prepared.kubectl(*why) == "DeadlineExceeded")
        await canaries.sweep(one.cluster)
        left = [item["metadata"]["name"] for item in (await one.cluster.list_pods()).items]
        assert left == ["young"]
        await one.cluster.delete_pod("young", 0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_canaries_go_when_the_doctor_is_ended(
    prepared: Installed, tmp_path: Path, how: signal.Signals
) -> None:
    config = tmp_path / "kgpud.toml"
    config.write_text(
        f'state = "{tmp_path / "state"}"\n[cluster]\nkubeconfig = "{prepared.kubeconfig}"\n'
        '[images]\ndefault = "docker.io/nobody/nothing:1"\n[gpu.v100]\nprice_per_hour = 1\n'
    )
    argv = [sys.executable, "-m", "kgpud", "doctor", "--config", str(config)]

    def there() -> str:
        return prepared.kubectl("-n", "kgpu", "get", "pods", "-o", "name")

    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        eventually(lambda: there().count("kgpud-canary") == 2)
        process.send_signal(how)
        assert process.wait(20) != 0
        assert process.stderr
        assert b"Traceback" not in process.stderr.read()
    eventually(lambda: not there())


@asynccontextmanager
async def website(context: ssl.SSLContext | None, status: int = 200) -> AsyncIterator[int]:
    async def menu(_request: web.Request) -> web.Response:
        return web.json_response([], status=status)

    app = web.Application()
    app.router.add_get("/v1/gpu-models", menu)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_an_api_that_users_can_not_reach_fails(patient_config: Config) -> None:
    closed = replace(patient_config, public_url=f"http://127.0.0.1:{free_port()}")
    assert (await found_by(front.api, closed))["API"].verdict is Verdict.FAIL
    assert (await found_by(front.tls, closed))["TLS"].verdict is Verdict.WARN
    async with website(None, status=502) as port:
        other = replace(patient_config, public_url=f"http://127.0.0.1:{port}")
        assert "HTTP 502" in (await found_by(front.api, other))["API"].detail
    assert (await found_by(front.api, patient_config))["API"].verdict is Verdict.SKIP
    assert (await found_by(front.bastion, closed))["bastion"].verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("days", "trusted", "verdict", "words"),
    [
        (90, True, Verdict.OK, "valid for 89 days"),
        (5, True, Verdict.WARN, "ends in 4 days"),
        (-1, True, Verdict.FAIL, "expired"),
        (90, False, Verdict.FAIL, "self-signed"),
    ],
)
async def test_the_certificate_that_users_meet_is_judged(
    tmp_path: Path,
    patient_config: Config,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    trusted: bool,
    verdict: Verdict,
    words: str,
) -> None:
    path = certificate(tmp_path, days)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    async with website(context) as port:
        config = replace(patient_config, public_url=f"https://127.0.0.1:{port}")
        found = (await found_by(front.tls, config))["TLS"]
    assert (found.verdict, words in found.detail) == (verdict, True), found


@pytest.mark.parametrize("fault", ["none", "bucket", "address"])
async def test_an_object_store_is_written_read_and_cleared(
    tmp_path: Path, patient_config: Config, fault: str
) -> None:
    with rclone(tmp_path) as server_:
        settings = server_.settings
        if fault == "bucket":
            settings = replace(settings, bucket="not-there")
        if fault == "address":
            settings = replace(settings, endpoint=f"http://127.0.0.1:{free_port()}")
        config = replace(patient_config, objects=Objects(store="s3", s3=settings))
        found = (await found_by(objects.transit, config))["objects"]
        assert found.verdict is (Verdict.OK if fault == "none" else Verdict.FAIL), found
        async with S3Client.open(server_.settings) as client:
            assert not (await client.call("list_objects_v2")).get("Contents")


async def test_a_folder_for_objects_is_looked_at(patient_config: Config) -> None:
    assert (await found_by(objects.transit, patient_config))["objects"].verdict is Verdict.OK
    full = replace(patient_config, objects=Objects(folder=Folder(min_free_gb=1_000_000)))
    assert (await found_by(objects.transit, full))["objects"].verdict is Verdict.WARN
    none = replace(patient_config, objects=Objects(store="none"))
    assert (await found_by(objects.transit, none))["objects"].verdict is Verdict.SKIP


async def test_a_check_that_hangs_is_given_up(patient_config: Config) -> None:
    async def hanging(_patient: Patient) -> AsyncIterator[Finding]:
        yield Finding("first", Verdict.OK, "seen")
        await asyncio.Event().wait()

    async with patient(patient_config) as one:
        found: Any = await _carry_out(Check("it", hanging, 0.05), one)
    assert [(f.check, f.verdict.value) for f in found] == [("first", "ok"), ("it", "fail")]
