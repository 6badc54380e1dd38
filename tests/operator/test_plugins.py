"""Credential plugins: real programs, with the real client."""

import asyncio
import json
import ssl
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from kgpud.cluster.errors import Refused, Unreachable
from kgpud.cluster_settings import Kubernetes
from tests.e2e.dev import eventually
from tests.platform.world import until

from .api import Api, Seconds, client, serving, write
from .certificates import certificate, server_side

PLUGIN = """\
#!/bin/sh
echo "$KUBERNETES_EXEC_INFO" > {folder}/asked
n=$(($(cat {folder}/count 2>/dev/null || echo 0) + 1))
echo $n > {folder}/count
{before}
cat <<END
{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {status}}}
END
"""


def plugin(folder: Path, status: object, before: str = "") -> dict[str, Any]:
    """Write a credential plugin that counts its runs; `$n` in what it says is the count."""
    path = folder / "plugin"
    path.write_text(
        PLUGIN.format(folder=folder, status=json.dumps(status), before=before.format(folder=folder))
    )
    path.chmod(0o700)
    exec_ = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(path),
        "env": [{"name": "WHO", "value": "kgpud"}],
        "provideClusterInfo": True,
    }
    return {"exec": exec_}


def ended(pid: int) -> bool:
    """Tell whether a process is gone, or waits for a PID 1 that reaps."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def runs(folder: Path) -> int:
    return int((folder / "count").read_text())


async def test_a_plugin_is_asked_once_and_again_when_its_token_is_refused(tmp_path: Path) -> None:
    api = Api(takes="token-1")
    async with serving(api.pods) as port:
        cluster = {"server": f"http://127.0.0.1:{port}"}
        path = write(tmp_path / "kubeconfig", cluster, plugin(tmp_path, {"token": "token-$n"}))
        clock = Seconds()
        async with client(Kubernetes(path), clock) as it:
            for _ in range(3):
                await it.list_pods()
                clock.now += 3600
            assert runs(tmp_path) == 1
            asked = json.loads((tmp_path / "asked").read_text())
            assert asked["spec"] == {"interactive": False, "cluster": cluster}
            api.takes = "token-2"
            await it.list_pods()
            assert runs(tmp_path) == 2
            api.takes = "another"
            with pytest.raises(Refused, match="401"):
                await it.list_pods()


async def test_refusals_that_come_late_ask_a_plugin_no_more(tmp_path: Path) -> None:
    api, taken = Api(takes="token-2"), asyncio.Event()

    async def pods(request: web.Request) -> web.Response:
        if len(api.heard) > 1 and request.headers["Authorization"] == "Bearer token-1":
            await taken.wait()
        answer = await api.pods(request)
        if answer.status == 200:
            taken.set()
        return answer

    async with serving(pods) as port:
        cluster = {"server": f"http://127.0.0.1:{port}"}
        path = write(tmp_path / "kubeconfig", cluster, plugin(tmp_path, {"token": "token-$n"}))
        async with client(Kubernetes(path)) as it, asyncio.timeout(20):
            await it.api_server()
            await asyncio.gather(*(it.list_pods() for _ in range(20)))
    assert runs(tmp_path) == 2
    assert api.heard.count("Bearer token-1") > 2


async def test_a_plugin_is_asked_again_before_its_token_ends(tmp_path: Path) -> None:
    api = Api()
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    status = {"token": "token-$n", "expirationTimestamp": ends}
    async with serving(api.pods) as port:
        cluster = {"server": f"http://127.0.0.1:{port}"}
        path = write(tmp_path / "kubeconfig", cluster, plugin(tmp_path, status))
        clock = Seconds()
        async with client(Kubernetes(path), clock) as it:
            for step in (0, 500, 60, 0):
                clock.now += step
                await asyncio.gather(it.list_pods(), it.list_pods())
    told = [one.split("-")[1] for one in api.heard if one]
    assert (told[:4], told[-2:], runs(tmp_path)) == (["1"] * 4, ["2"] * 2, 2)


async def test_a_plugin_that_hangs_keeps_one_waiting_and_not_everybody(tmp_path: Path) -> None:
    api = Api()
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    status = {"token": "token-$n", "expirationTimestamp": ends}
    spec = plugin(tmp_path, status, "[ $n = 1 ] || sleep 100")
    async with serving(api.pods) as port:
        path = write(tmp_path / "kubeconfig", {"server": f"http://127.0.0.1:{port}"}, spec)
        clock = Seconds()
        async with client(Kubernetes(path), clock) as it, asyncio.timeout(20):
            await it.list_pods()
            clock.now += 560
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(it.list_pods())
                await until(lambda: runs(tmp_path) == 2, 20)
                await it.list_pods()
                waiting.cancel()
    assert api.heard == ["Bearer token-1"] * 2


@pytest.mark.parametrize(
    ("status", "before", "words"),
    [
        ({"token": "secret"}, "exit 3", "ended with 3"),
        ({"token": "secret"}, "sleep 100 & echo $! > {folder}/child; wait", "not done after 1 s"),
        ({"token": "secret"}, "exec cat /dev/zero", "not done after 1 s"),
        ({}, "", "printed no ExecCredential"),
        ("nothing", "", "printed no ExecCredential"),
        ({"token": "two\nlines"}, "", "ValueError"),
        ({"clientCertificateData": "half"}, "", "printed no ExecCredential"),
    ],
)
async def test_a_plugin_that_fails_is_named_and_ended_with_its_children(
    tmp_path: Path, status: object, before: str, words: str
) -> None:
    path = write(tmp_path / "k", {"server": "http://127.0.0.1:1"}, plugin(tmp_path, status, before))
    before_it = set(psutil.Process().children())
    seconds = 0.6 if "not done" in words else 20.0
    async with client(Kubernetes(path), plugin_seconds=seconds) as it:
        with pytest.raises(Unreachable, match=words) as failed:
            await it.list_pods()
    assert "secret" not in str(failed.value)
    assert set(psutil.Process().children()) <= before_it
    if (tmp_path / "child").exists():
        pid = int((tmp_path / "child").read_text())
        eventually(lambda: ended(pid))


@pytest.mark.parametrize(
    "exec_",
    [{"command": "/no/such"}, {"apiVersion": "v1", "command": "true"}, {"apiVersion": "x"}, "true"],
)
async def test_a_plugin_that_can_not_be_run_is_a_sentence(tmp_path: Path, exec_: Any) -> None:
    if exec_ == {"command": "/no/such"}:
        exec_["apiVersion"] = "client.authentication.k8s.io/v1"
    path = write(tmp_path / "k", {"server": "http://127.0.0.1:1"}, {"exec": exec_})
    async with client(Kubernetes(path)) as it:
        with pytest.raises(Unreachable, match="can't use"):
            await it.list_pods()


async def test_a_plugin_may_give_a_client_certificate(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    theirs, ours = certificate(tmp_path, 9), certificate(tmp_path / "c", 9, "kgpud")
    public, private = ours.read_text().split("-----BEGIN PRIVATE")
    status = {"clientCertificateData": public, "clientKeyData": f"-----BEGIN PRIVATE{private}"}
    context = server_side(theirs)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ours)
    async with serving(Api().pods, context) as port:
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": theirs.name}
        path = write(tmp_path / "k", cluster, plugin(tmp_path, status))
        async with client(Kubernetes(path)) as it:
            assert (await it.list_pods()).items == []


def test_a_cancelled_plugin_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    before = f"echo $$ > {tmp_path}/pid; sleep 100"
    path = write(tmp_path / "k", {"server": "http://127.0.0.1:1"}, plugin(tmp_path, {}, before))

    async def cancelled() -> None:
        async with client(Kubernetes(path)) as it:
            async with asyncio.timeout(20):
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(it.list_pods())
                    await until(lambda: pid.exists() and pid.read_text().endswith("\n"), 20)
                    task.cancel()

    asyncio.run(cancelled())
    eventually(lambda: ended(int(pid.read_text())))
