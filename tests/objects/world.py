"""The platform's objects on one store, over HTTP: what the daemon wires, on a clock set by hand."""

import asyncio
import hashlib
import io
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from gateway.executor import Executor
from gateway.hostkeys import HostKeys
from kgpud import daemon, wiring
from kgpud.address import Address
from kgpud.cluster.client import Cluster
from kgpud.config import Config
from kgpud.handover.switch import Switch
from kgpud.object_settings import Objects as Settings
from kgpud.objects.opening import Transit
from kgpud.objects.stores import ObjectStore
from kgpud.rest.app import build
from kgpud.rest.server import Runner
from store.db import Database
from tests.manual_clock import ManualClock
from tests.rest.client import Api, Reply


@dataclass
class World:
    db: Database
    clock: ManualClock
    store: ObjectStore
    transit: Transit
    platform: wiring.Platform
    session: aiohttp.ClientSession
    api: Api
    state: Path
    _tokens: dict[str, str] = field(default_factory=dict)

    async def token(self, email: str = "a@example.org") -> str:
        if email not in self._tokens:
            services = self.platform.services
            account = await services.accounts.add(email, email, who="test")
            await services.accounts.approve(account.account_id, "test")
            self._tokens[email] = await services.tokens.issue(account.account_id)
        return self._tokens[email]

    async def call(
        self, method: str, path: str = "", body: Any = None, email: str = "a@example.org"
    ) -> Reply:
        token = await self.token(email)
        return await self.api.call(method, f"/v1/objects{path}", token=token, body=body)

    async def create(self, **body: Any) -> Any:
        reply = await self.call("POST", body=body)
        assert reply.status == 200, reply.body
        return reply.body

    async def get(self, made: Any) -> Reply:
        return await self.call("GET", f"/{made['object_id']}")

    async def put(self, url: str, data: bytes) -> int:
        headers = {"Content-Length": str(len(data))}
        status, _ = await self.raw("PUT", url, data=io.BytesIO(data), headers=headers)
        return status

    async def raw(
        self, method: str, url: str, *, data: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        async with self.session.request(
            method, url, data=data, headers=headers, skip_auto_headers=("Content-Type",)
        ) as answer:
            return answer.status, await answer.read()

    async def uploaded(self, data: bytes = b"data", **body: Any) -> Any:
        """Make an object, upload it, and return it as GET then shows it: ready."""
        made = await self.create(**body)
        assert await self.put(made["put_url"], data) == 200
        reply = await self.get(made)
        assert reply.status == 200, reply.body
        return {**made, **reply.body}

    async def stray(self, key: str, data: bytes) -> None:
        """Put something into the store, whatever the database knows of it."""
        if self.transit.folder is not None:
            (self.transit.folder.layout.files / key).write_bytes(data)
        else:
            assert await self.put(await self.store.put_url(key, len(data), 60), data) == 200

    async def stored(self) -> set[str]:
        return {one.key for one in await self.store.list()}


@asynccontextmanager
async def world(
    state: Path, settings: Settings, *, clock: ManualClock | None = None
) -> AsyncIterator[World]:
    """Build everything on a store; the sweep doesn't run by itself, checksums are read."""
    # Presigned URLs are judged by the store's own clock.
    clock = clock or ManualClock(time.time_ns() // 1_000_000)
    config = Config(state=state, objects=settings)
    async with AsyncExitStack() as stack:
        sock = daemon.bind(Address("127.0.0.1", 0))
        stack.callback(sock.close)
        cluster = await stack.enter_async_context(Cluster.connect(state / "no-kubeconfig", "kgpu"))
        outside = wiring.Outside(
            config=config,
            clock=clock,
            cluster=cluster,
            executor=Executor(cluster),
            core=Switch(),
            host_keys=HostKeys(state / "host_key"),
            http=daemon.bound(sock),
            ssh=Address("127.0.0.1", 2222),
            notify=lambda _pod_id, _sentence: None,
            cut=lambda _pod_id, _reason: None,
            lost_reason="pod_lost",
        )
        platform = await stack.enter_async_context(wiring.opened(outside))
        db = await stack.enter_async_context(Database.open(state / "kgpud.sqlite3"))
        transit = platform.services.transit
        assert transit is not None
        runner = Runner(build(platform.services), shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, sock.dup()).start()
        session = await stack.enter_async_context(aiohttp.ClientSession())
        api = Api(session, f"http://{daemon.bound(sock)}")
        await stack.enter_async_context(_reading(transit))
        yield World(db, clock, transit.store, transit, platform, session, api, state)


@asynccontextmanager
async def _reading(transit: Transit) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(transit.checksums.run())
        yield
        task.cancel()


def small(settings: Settings, **changes: Any) -> Settings:
    """Return settings whose parts are as small as S3 allows: 5 MiB."""
    return replace(settings, put_mib=6, part_mib=5, **changes)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def random_bytes(size: int) -> bytes:
    return os.urandom(size)
