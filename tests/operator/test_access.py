"""Credentials that change, and the ways to an API server, with the real client."""

import asyncio
import json
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.capture import run
from gateway.executor import Executor
from gateway.outcome import ExecRefused
from gateway.protocols import PodRef
from kgpud.cluster.errors import Refused, Unreachable
from kgpud.cluster_settings import Kubernetes
from tests.e2e.dev import eventually
from tests.e2e.serve import free_port
from tests.platform.world import until

from .api import Api, Seconds, client, serving, write
from .certificates import certificate
from .installing import Installed

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
    path.write_text(PLUGIN.format(folder=folder, status=json.dumps(status), before=before))
    path.chmod(0o700)
    exec_ = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(path),
        "env": [{"name": "WHO", "value": "kgpud"}],
        "provideClusterInfo": True,
    }
    return {"exec": exec_}


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


async def test_a_plugin_is_asked_again_before_its_token_ends(tmp_path: Path) -> None:
    api = Api()
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    status = {"token": "token-$n", "expirationTimestamp": ends}
    async with serving(api.pods) as port:
        cluster = {"server": f"http://127.0.0.1:{port}"}
        path = write(tmp_path / "kubeconfig", cluster, plugin(tmp_path, status))
        clock = Seconds()
        async with client(Kubernetes(path), clock) as it:
            for step in (0, 500, 60):
                clock.now += step
                await asyncio.gather(it.list_pods(), it.list_pods())
    assert [one.split("-")[1] for one in api.heard if one] == ["1", "1", "1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("status", "before", "words"),
    [
        ({"token": "secret"}, "exit 3", "ended with 3"),
        ({"token": "secret"}, "sleep 100 & wait", "not done after 1 s"),
        ({"token": "secret"}, "exec cat /dev/zero", "not done after 1 s|printed no"),
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
    async with client(Kubernetes(path), plugin_seconds=1) as it:
        with pytest.raises(Unreachable, match=words) as failed:
            await it.list_pods()
    assert "secret" not in str(failed.value)
    assert psutil.Process().children(recursive=True) == []


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


async def test_credentials_that_serve_are_kept_while_new_ones_can_not_be_had(
    tmp_path: Path,
) -> None:
    api = Api()
    async with serving(api.pods) as port:
        path = write(tmp_path / "k", {"server": f"http://127.0.0.1:{port}"}, {"token": "old"})
        clock = Seconds()
        async with client(Kubernetes(path), clock) as it:
            await it.list_pods()
            whole = path.read_text()
            path.write_text("{")
            clock.now += 100
            await it.list_pods()
            path.write_text(whole.replace("old", "new"))
            await it.list_pods()
            clock.now += 11
            await it.list_pods()
    assert [one and one.split()[1] for one in api.heard] == ["old", "old", "old", "new"]


async def test_a_projected_token_is_read_again_from_beside_the_kubeconfig(tmp_path: Path) -> None:
    api = Api()
    token = tmp_path / "token"
    token.write_text("first\n")
    async with serving(api.pods) as port:
        cluster = {"server": f"http://127.0.0.1:{port}"}
        path = write(tmp_path / "k", cluster, {"tokenFile": "token"})
        clock = Seconds()
        async with client(Kubernetes(path), clock) as it:
            await it.list_pods()
            token.write_text("second\n")
            await it.list_pods()
            clock.now += 61
            await it.list_pods()
    assert [one and one.split()[1] for one in api.heard] == ["first", "first", "second"]


def server_side(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


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


async def test_a_certificate_authority_that_is_replaced_is_believed(tmp_path: Path) -> None:
    port, clock = free_port(), Seconds()
    authority = certificate(tmp_path, 9)
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority)}
    path = write(tmp_path / "k", cluster, {"token": "t"})
    async with client(Kubernetes(path), clock) as it:
        for _ in range(2):
            async with serving(Api().pods, server_side(authority), port):
                await it.list_pods()
                certificate(tmp_path, 9)
                clock.now += 61


async def test_a_certificate_may_be_for_another_name(tmp_path: Path) -> None:
    authority = certificate(tmp_path, 9, "kube.example.org")
    async with serving(Api().pods, server_side(authority)) as port:
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority)}
        path = write(tmp_path / "k", cluster, {"token": "t"})
        async with client(Kubernetes(path)) as it:
            with pytest.raises(Unreachable, match="Certificate"):
                await it.list_pods()
        write(path, {**cluster, "tls-server-name": "kube.example.org"}, {"token": "t"})
        async with client(Kubernetes(path)) as it:
            assert (await it.list_pods()).items == []


async def test_another_address_is_taken_where_one_can_not_be_reached(tmp_path: Path) -> None:
    gone, other = Api(), Api()
    async with serving(other.pods) as second:
        async with serving(gone.pods) as first:
            servers = (f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{second}")
            path = write(tmp_path / "k", {"server": f"http://127.0.0.1:{first}"}, {"token": "t"})
            async with client(Kubernetes(path, servers)) as it:
                await it.list_pods()
                assert (len(gone.heard), len(other.heard)) == (1, 0)
        async with client(Kubernetes(path, servers)) as it:
            await it.list_pods()
            await it.list_pods()
            assert len(other.heard) == 2
            assert (await it.api_server()).url == servers[1]
    async with client(Kubernetes(path, servers)) as it, asyncio.timeout(10):
        with pytest.raises(Unreachable, match="ClientConnectorError"):
            await it.list_pods()


class Proxy:
    """An HTTP proxy that knows CONNECT alone, and remembers what it was asked for."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> None:
        self._answer = answer
        self.asked: list[str] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(maxsplit=2)
        self.asked.append(f"{method} {target}")
        writer.write(self._answer)
        if self._answer.startswith(b"HTTP/1.1 200"):
            host, _, port = target.rpartition(":")
            away = await asyncio.open_connection(host, int(port))
            with suppress(ConnectionError):
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pass_on(reader, away[1]))
                    group.create_task(_pass_on(away[0], writer))
        writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def test_requests_and_execs_go_through_a_proxy_that_is_configured(
    prepared: Installed,
) -> None:
    proxy = Proxy()
    target = prepared.cluster.url.removeprefix("https://")
    async with (
        proxy.serving() as url,
        client(Kubernetes(prepared.kubeconfig, proxy=url)) as it,
    ):
        await it.list_pods()
        assert proxy.asked == [f"CONNECT {target}"]
        with pytest.raises(ExecRefused, match="the pod is gone"):
            pod = PodRef("kgpu", "nobody", "main")
            await run(Executor(it), pod, ["true"], output_limit=1, timeout=20)
        assert proxy.asked == [f"CONNECT {target}"] * 2


async def test_a_proxy_that_refuses_is_told(prepared: Installed) -> None:
    proxy = Proxy(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    async with (
        proxy.serving() as url,
        client(Kubernetes(prepared.kubeconfig, proxy=url)) as it,
    ):
        with pytest.raises(Unreachable, match="403"):
            await it.list_pods()
        with pytest.raises(ExecRefused, match="the proxy refused: 403"):
            pod = PodRef("kgpu", "nobody", "main")
            await run(Executor(it), pod, ["true"], output_limit=1, timeout=20)


async def test_proxies_that_nobody_configured_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with serving(Api().pods) as port:
        cluster = {"server": f"http://127.0.0.1:{port}"}
        path = write(tmp_path / "k", cluster, {"token": "t"})
        async with client(Kubernetes(path)) as it:
            await it.list_pods()
        write(path, {**cluster, "proxy-url": "http://proxy:3128"}, {"token": "t"})
        async with client(Kubernetes(path)) as it:
            with pytest.raises(Unreachable, match="names a proxy: set"):
                await it.list_pods()


def test_a_cancelled_plugin_is_ended(tmp_path: Path) -> None:
    before = f"echo $$ > {tmp_path}/pid; sleep 100"
    path = write(tmp_path / "k", {"server": "http://127.0.0.1:1"}, plugin(tmp_path, {}, before))

    async def cancelled() -> None:
        async with client(Kubernetes(path)) as it:
            async with asyncio.timeout(5):
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(it.list_pods())
                    await until((tmp_path / "pid").exists)
                    task.cancel()

    asyncio.run(cancelled())
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not psutil.pid_exists(pid))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
