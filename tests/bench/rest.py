"""`make bench`: the REST API beside a bare aiohttp handler that returns the same bytes, in one run.

One client on one connection, one request after the other, in interleaved rounds; a ratio is the
median of the rounds' own, so that what else the machine does weighs on both sides. Both servers
are processes of their own.
"""

import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from gateway import frames, wrapper
from gateway.protocols import PodRef
from gateway.wrapper import Command, Kind
from kgpud.cluster.client import Cluster
from kgpud.cluster.pods import CONTAINER
from tests.e2e.dev import Dev, make_key, rent, running

ROUNDS = 25
REQUESTS = 300
EXECS = 40


def bare() -> None:
    """Serve the bodies that come as JSON on stdin, by path; print the port."""
    bodies = json.load(sys.stdin)

    async def serve() -> None:
        app = web.Application()
        for path, body in bodies.items():
            app.router.add_get(path, _constant(body.encode()))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


def _constant(body: bytes) -> Callable[[web.Request], "asyncio.Future[web.Response]"]:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    return handle  # type: ignore[return-value]


class Connection:
    """A keep-alive connection to a process's server that asks for one thing again and again."""

    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._file = self._socket.makefile("rb")
        self._head = f"Host: a\r\nAuthorization: Bearer {token}\r\n"

    def get(self, path: str) -> bytes:
        """Ask once; return the body."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())
        return self._answer()

    def post(self, path: str, body: bytes) -> bytes:
        """Send JSON; return the answer's body."""
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        head = f"POST {path} HTTP/1.1\r\n{self._head}{kind}"
        self._socket.sendall(head.encode() + body)
        return self._answer()

    def _answer(self) -> bytes:
        status = self._file.readline()
        assert b" 200 " in status, status
        length = 0
        while (line := self._file.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return self._file.read(length)

    def cost(self, path: str) -> float:
        """Return the seconds that a request takes."""
        begun = time.perf_counter()
        for _ in range(REQUESTS):
            self.get(path)
        return (time.perf_counter() - begun) / REQUESTS


@contextmanager
def bare_server(bodies: dict[str, str]) -> Iterator[int]:
    argv = [sys.executable, "-m", "tests.bench.rest", "bare"]
    with Popen(argv, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(bodies).encode())
        process.stdin.close()
        yield int(process.stdout.readline())
        process.terminate()


def gets(dev: Dev, pod_id: str) -> None:
    """Compare two GETs with a handler that knows the answer."""
    paths = ["/v1/gpu-models", f"/v1/pods/{pod_id}"]
    port = urlsplit(dev.env["KGPU_API_BASE"]).port
    assert port
    ours = Connection(port, dev.env["KGPU_API_TOKEN"])
    with bare_server({path: ours.get(path).decode() for path in paths}) as other:
        theirs = Connection(other, "")
        for path in paths:
            rounds = [(ours.cost(path), theirs.cost(path)) for _ in range(ROUNDS)]
            tell("GET " + path.replace(pod_id, "{id}"), rounds)


def execs(dev: Dev, pod_id: str) -> None:
    """Compare a one-shot command with the exec call over a websocket that it makes."""
    port = urlsplit(dev.env["KGPU_API_BASE"]).port
    assert port
    ours = Connection(port, dev.env["KGPU_API_TOKEN"])
    path, body = f"/v1/pods/{pod_id}/exec", b'{"cmd": ["true"]}'

    async def both() -> list[tuple[float, float]]:
        pod = PodRef("kgpu", pod_id, CONTAINER)
        argv = wrapper.wrapped(Command(Kind.ARGV, [b"true"]), wrapper.new_nonce())
        async with Cluster.connect(dev.state / "cluster/kubeconfig", "kgpu") as cluster:
            return [
                (await asyncio.to_thread(timed, ours, path, body), await raw(cluster, pod, argv))
                for _ in range(EXECS)
            ]

    tell("POST /v1/pods/{id}/exec true", asyncio.run(both()), "websocket")


def timed(connection: Connection, path: str, body: bytes) -> float:
    begun = time.perf_counter()
    connection.post(path, body)
    return time.perf_counter() - begun


async def raw(cluster: Cluster, pod: PodRef, argv: list[str]) -> float:
    """Make the exec call and wait for its end; return the seconds."""
    server = await cluster.api_server()
    query = [("container", pod.container), ("stdin", "true"), ("stdout", "true")]
    query += [("stderr", "true"), *(("command", word) for word in argv)]
    url = f"{server.url}/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/exec"
    begun = time.perf_counter()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            url,
            params=query,
            headers=server.headers,
            ssl=server.ssl if server.ssl is not None else True,
            protocols=["v5.channel.k8s.io"],
        ) as websocket,
    ):
        await websocket.send_bytes(frames.END_OF_STDIN)
        async for _message in websocket:
            pass
        return time.perf_counter() - begun


def tell(name: str, rounds: list[tuple[float, float]], what: str = "bare") -> None:
    mine, its = (statistics.median(column) * 1e6 for column in zip(*rounds, strict=True))
    ratio = statistics.median(ours / theirs for ours, theirs in rounds)
    print(f"{name:32} {mine:8.0f} µs {what:>9} {its:8.0f} µs  ratio {ratio:.2f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(folder / "state") as dev:
            pod = rent(dev, make_key(folder / "key"), gpu_count=0)
            gets(dev, pod.pod_id)
            execs(dev, pod.pod_id)


if __name__ == "__main__":
    if sys.argv[1:] == ["bare"]:
        bare()
    else:
        main()
