"""An API server of a test's own: it lists pods, and says who asked."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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
    clock: Seconds | None = None,
    *,
    plugin_seconds: float = 20,
    account: Path = Path("/nowhere"),
) -> AsyncIterator[Cluster]:
    access = Access(
        settings, monotonic=clock or Seconds(), plugin_seconds=plugin_seconds, account=account
    )
    async with Transport.open(access) as transport:
        yield Cluster(transport, access, "kgpu")
