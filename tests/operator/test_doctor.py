"""`kgpud doctor` against real faults: what it finds, says and exits with, and what it leaves."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kgpud.catalog_settings import Images
from kgpud.cli import main
from kgpud.cluster import canaries as pods
from kgpud.cluster.manifests import Installation
from kgpud.config import Config
from kgpud.doctor import canaries, fleet
from kgpud.doctor.findings import Finding, Verdict
from kgpud.doctor.patient import Patient
from kgpud.doctor.rounds import Check, _carry_out
from tests.e2e.dev import eventually
from tests.e2e.serve import free_port, serving, write_config
from tests.lies.kubeconfig import write_kubeconfig

from .doctoring import examined, patient, verdicts
from .installing import Installed, installed


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
    ("kubeconfig", "detail", "remedy"),
    [
        ("{", "something is missing or wrong in it", "kubectl --kubeconfig"),
        ("a: [", "something is missing or wrong in it", "kubectl --kubeconfig"),
        ('{"clusters": []}', "something is missing or wrong in it", "kubectl --kubeconfig"),
        (None, "kubeconfig: No such file or directory", "as the daemon's user"),
        ("closed port", "Connection refused", "start the API server"),
        ("wrong token", "401", "config/k3s/kubeconfig.sh kgpu > "),
        ("a pod's", "kgpud runs in none", "set cluster.kubeconfig"),
    ],
)
def test_a_cluster_that_can_not_be_asked_fails_and_the_rest_is_skipped(
    prepared: Installed, tmp_path: Path, kubeconfig: str | None, detail: str, remedy: str
) -> None:
    path = tmp_path / "kubeconfig"
    if kubeconfig == "closed port":
        write_kubeconfig(tmp_path, free_port())
    elif kubeconfig == "wrong token":
        path.write_text(prepared.kubeconfig.read_text().replace(prepared.token, "secret-of-mine"))
    elif kubeconfig is not None:
        path.write_text(kubeconfig)
    named = "" if kubeconfig == "a pod's" else path
    config = tmp_path / "kgpud.toml"
    config.write_text(f'state = "{tmp_path / "state"}"\n[cluster]\nkubeconfig = "{named}"\n')
    code, found = examined(config)
    assert (code, verdicts(found, Verdict.FAIL)) == (1, {"cluster"})
    assert detail in found["cluster"].detail
    assert remedy in found["cluster"].remedy
    assert verdicts(found, Verdict.SKIP) >= {"rights", "nodes", "exec", "database", "API"}
    assert "secret-of-mine" not in str(found)


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


async def test_a_check_that_hangs_is_given_up(patient_config: Config) -> None:
    async def hanging(_patient: Patient) -> AsyncIterator[Finding]:
        yield Finding("first", Verdict.OK, "seen")
        await asyncio.Event().wait()

    async with patient(patient_config) as one:
        found: Any = await _carry_out(Check("it", hanging, 0.05), one)
    assert [(f.check, f.verdict.value) for f in found] == [("first", "ok"), ("it", "fail")]
