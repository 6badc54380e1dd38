"""An API server of a test's own: it lists pods, and says who asked."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from kgpud.cluster.access import Access
from kgpud.cluster.client import Cluster
from kgpud.cluster.transport import Transport
from kgpud.cluster_settings import Kubernetes

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Api:
    """`takes` is the only token that is taken, if any; `heard` is every Authorization sent."""

    takes: str | None = None
    heard: list[str | None] = field(default_factory=list)
    port: int = 0

    async def pods(self, request: web.Request) -> web.Response:
        said = request.headers.get("Authorization")
        self.heard.append(said)
        if self.takes is not None and said != f"Bearer {self.takes}":
            return web.json_response({"kind": "Status", "message": "Unauthorized"}, status=401)
        return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})


@asynccontextmanager
async def serving(
    handler: Handler, context: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[int]:
    """Answer everything by one handler while the block runs; yield the port."""
    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextmanager
def switched_off() -> Iterator[str]:
    """Yield the URL of a machine that answers nothing at all: its queue of callers is full."""
    with socket.socket() as machine, ExitStack() as callers:
        machine.bind(("127.0.0.1", 0))
        machine.listen(0)
        for _ in range(2):
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(machine.getsockname())
        yield f"http://127.0.0.1:{machine.getsockname()[1]}"


def write(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    """Write a kubeconfig."""
    document = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(document))
    return path


@dataclass
class Seconds:
    """A monotonic clock that a test sets."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def client(
    settings: Kubernetes,
    clock: Callable[[], float] | None = None,
    *,
    plugin_seconds: float = 20,
    account: Path = Path("/nowhere"),
    reach_seconds: float = 5,
    answer_seconds: float = 10,
) -> AsyncIterator[Cluster]:
    access = Access(
        settings, monotonic=clock or Seconds(), plugin_seconds=plugin_seconds, account=account
    )
    bounds = {"reach_seconds": reach_seconds, "answer_seconds": answer_seconds}
    async with Transport.open(access, **bounds) as transport:
        yield Cluster(transport, access, "kgpu")
