"""Credentials that change, and the ways to an API server, with the real client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web

from gateway.capture import run
from gateway.executor import Executor
from gateway.outcome import ExecRefused, ExecUnreachable
from gateway.protocols import PodRef
from kgpud.cluster.errors import Unreachable
from kgpud.cluster_settings import Kubernetes
from tests.e2e.serve import free_port

from .api import Api, Seconds, client, serving, switched_off, write
from .certificates import certificate, server_side
from .installing import Installed

POD = PodRef("kgpu", "nobody", "main")


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


async def test_a_pod_of_the_cluster_uses_its_own_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, authority = Api(), certificate(tmp_path, 9)
    (tmp_path / "ca.crt").write_bytes(authority.read_bytes())
    (tmp_path / "token").write_text("first")
    clock = Seconds()
    async with serving(api.pods, server_side(authority)) as port:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        async with client(Kubernetes(), clock, account=tmp_path) as it:
            await it.list_pods()
            # As the kubelet does it: an hour later, to the same name.
            (tmp_path / "token").write_text("second")
            clock.now += 61
            await it.list_pods()
    assert [one and one.split()[1] for one in api.heard] == ["first", "second"]
    async with client(Kubernetes(), account=tmp_path / "none") as it:
        with pytest.raises(Unreachable, match="a pod's own credentials: kgpud runs in none"):
            await it.list_pods()


async def test_an_exec_is_tried_again_with_the_token_that_took_the_old_ones_place(
    tmp_path: Path,
) -> None:
    heard = []

    async def answer(request: web.Request) -> web.Response:
        heard.append(request.headers["Authorization"].split()[1])
        return web.Response(status=401 if heard[-1] != "new" else 404)

    async with serving(answer) as port:
        path = write(tmp_path / "k", {"server": f"http://127.0.0.1:{port}"}, {"token": "old"})
        async with client(Kubernetes(path)) as it:
            await it.api_server()
            path.write_text(path.read_text().replace("old", "new"))
            with pytest.raises(ExecRefused, match="the pod is gone"):
                await run(Executor(it), POD, ["true"], output_limit=1, timeout=20)
            it.refused(await it.api_server())
            path.write_text("{")
            with pytest.raises(ExecRefused, match="should run `kgpud doctor`"):
                await run(Executor(it), POD, ["true"], output_limit=1, timeout=20)
    assert heard == ["old", "new"]


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
            with pytest.raises(Unreachable, match="can't be believed: IP address mismatch"):
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
        with pytest.raises(Unreachable, match="Connection refused"):
            await it.list_pods()


async def test_a_machine_that_is_off_costs_one_wait_and_is_left_alone_then(tmp_path: Path) -> None:
    other = Api()
    async with serving(other.pods) as port:
        with switched_off() as first, switched_off() as second:
            path = write(tmp_path / "k", {"server": first}, {"token": "t"})
            servers = (second, f"http://127.0.0.1:{port}")
            async with client(Kubernetes(path, servers), reach_seconds=0.1) as it:
                await it.list_pods()
                assert (await it.api_server()).url == servers[-1]
                async with asyncio.timeout(0.1):
                    await it.list_pods()
            # Where all are off, every one is tried and that's it, however long it took.
            away, hours = Kubernetes(path, (second,)), count(0, 3600).__next__
            async with client(away, hours, reach_seconds=0.1) as it, asyncio.timeout(10):
                with pytest.raises(Unreachable) as nobody:
                    await it.create_pod({})
            assert not nobody.value.maybe_done


async def test_a_server_that_hangs_is_left_for_another(tmp_path: Path) -> None:
    hanging, other = asyncio.Event(), Api()

    async def hang(_request: web.Request) -> web.Response:
        await hanging.wait()
        return web.Response()

    async with serving(hang) as first, serving(other.pods) as second:
        servers = (f"http://127.0.0.1:{second}",)
        path = write(tmp_path / "k", {"server": f"http://127.0.0.1:{first}"}, {"token": "t"})
        async with client(Kubernetes(path, servers), answer_seconds=0.2) as it:
            with pytest.raises(Unreachable, match="timed out") as hung:
                await it.create_pod({})
            assert hung.value.maybe_done
            await it.list_pods()
        hanging.set()


async def test_an_exec_goes_to_another_address_too(tmp_path: Path) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=404)

    async with serving(answer) as port:
        servers = (f"http://127.0.0.1:{port}",)
        gone = {"server": f"http://127.0.0.1:{free_port()}"}
        path = write(tmp_path / "k", gone, {"token": "t"})
        async with client(Kubernetes(path, servers)) as it:
            with pytest.raises(ExecRefused, match="the pod is gone"):
                await run(Executor(it), POD, ["true"], output_limit=1, timeout=20)
        async with client(Kubernetes(path)) as it:
            with pytest.raises(ExecUnreachable, match="can't be reached"):
                await run(Executor(it), POD, ["true"], output_limit=1, timeout=20)
    assert len(asked) == 1


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
            await run(Executor(it), POD, ["true"], output_limit=1, timeout=20)
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
            await run(Executor(it), POD, ["true"], output_limit=1, timeout=20)


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
