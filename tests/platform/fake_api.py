"""A small Kubernetes API in this process that can be told to misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from kgpud.clock import Clock

Object = dict[str, Any]
TOKEN = "fake-cluster-token"


def stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def gpus(pod: Object) -> int:
    return int(pod["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0))


def node(name: str, model: str, gpus: int) -> Object:
    labels = {"kubernetes.io/hostname": name, "kgpu.net/gpu-model": model}
    conditions = [{"type": "Ready", "status": "True"}]
    allocatable = {"nvidia.com/gpu": str(gpus)}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"allocatable": allocatable, "conditions": conditions},
    }


class FakeApi:
    """A cluster. `mood` is what a pod's creation meets.

    It is ok, refuse, lose (made, not answered), drop (not made), late (made by `land`, not
    answered), or until it changes hang (not made), or slow (made then).
    """

    def __init__(self, clock: Clock) -> None:
        self.objects: dict[str, dict[str, Object]] = {
            "pods": {},
            "secrets": {},
            "nodes": {},
            "events": {},
            "namespaces": {"kgpu": {"metadata": {"name": "kgpu", "uid": "uid-of-a-cluster"}}},
        }
        self._clock = clock
        self.log: list[tuple[str, str]] = []
        self.mood = "ok"
        self.down = False
        self.hanging = asyncio.Event()
        self.tells_events = asyncio.Event()
        self.tells_events.set()
        self.schedules = True
        self.hides_namespaces = False
        self.landed: set[str] = set()
        self.late_patches: list[asyncio.Event] = []
        self._late: list[Object] = []
        self._version = 100
        self._changed = asyncio.Event()
        self._events: dict[str, list[tuple[int, Object]]] = {"pods": [], "nodes": []}
        self._expired_before = 0

    @property
    def pods(self) -> dict[str, Object]:
        return self.objects["pods"]

    def apply(self, kind: str, what: str, item: Object) -> None:
        """Keep (or drop) an object and tell the watches."""
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        if what == "DELETED":
            self.objects[kind].pop(item["metadata"]["name"], None)
        else:
            self.objects[kind][item["metadata"]["name"]] = item
        if kind in self._events:
            copy = json.loads(json.dumps({"type": what, "object": item}))
            self._events[kind].append((self._version, copy))
        self._wake()

    def expire(self) -> None:
        """Forget all events so far: the watches get 410."""
        self._version += 1
        self._expired_before = self._version
        self._wake()

    def stop(self) -> None:
        """Answer nothing but 503 from now on, open watches included."""
        self.down = True
        self._wake()

    def run(self, name: str, at: int, *, ready: bool = True) -> None:
        """Let a pod's container run."""
        pod = self.pods[name]
        pod["status"] = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [
                {"name": "main", "state": {"running": {"startedAt": stamp(at)}}, "ready": ready}
            ],
        }
        self.apply("pods", "MODIFIED", pod)

    def finish(self, name: str, started: int, at: int, exit_code: int) -> None:
        """Let a pod's container end by itself."""
        ended = {
            "exitCode": exit_code,
            "reason": "Error",
            "startedAt": stamp(started),
            "finishedAt": stamp(at),
        }
        pod = self.pods[name]
        pod["status"] = {
            "phase": "Failed",
            "containerStatuses": [{"name": "main", "state": {"terminated": ended}}],
        }
        self.apply("pods", "MODIFIED", pod)

    def say(self, name: str, reason: str) -> None:
        """Let the kubelet write an event about a pod."""
        event = {"metadata": {"name": f"{name}.{reason}"}, "involvedObject": {"name": name}}
        self.apply("events", "ADDED", {**event, "reason": reason})

    def remove(self, name: str) -> None:
        """Let a pod object be gone."""
        self.apply("pods", "DELETED", self.pods[name])

    def asked(self, method: str) -> list[str]:
        return [path.rsplit("/", 1)[-1] for verb, path in self.log if verb == method]

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            return refusal(503, "ServiceUnavailable")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return refusal(401, "Unauthorized")
        self.log.append((request.method, request.path))
        kind = request.match_info["kind"]
        if "name" in request.match_info:
            return await self._one(request, kind)
        if request.method == "POST":
            return await self._create(request, kind)
        if "watch" in request.query:
            return await self._watch(request, kind)
        items = list(self.objects[kind].values())
        if kind == "events":
            await self.tells_events.wait()
        if "fieldSelector" in request.query:
            about = request.query["fieldSelector"].removeprefix("involvedObject.name=")
            items = [item for item in items if item["involvedObject"]["name"] == about]
        return web.json_response(
            {"items": items, "metadata": {"resourceVersion": str(self._version)}}
        )

    async def _one(self, request: web.Request, kind: str) -> web.StreamResponse:
        if kind == "namespaces" and self.hides_namespaces:
            return refusal(403, "Forbidden")
        item = self.objects[kind].get(request.match_info["name"])
        if item is None:
            return refusal(404, "NotFound")
        if request.method == "DELETE":
            self._delete(kind, item)
        if request.method == "PATCH":
            for late in self.late_patches[:1]:
                del self.late_patches[:1]
                await late.wait()
            merge(item, await request.json())
            self.apply(kind, "MODIFIED", item)
        return web.json_response(item)

    def _delete(self, kind: str, item: Object) -> None:
        if kind == "pods":
            grace = {"deletionGracePeriodSeconds": 1}
            due = stamp(self._clock.now_ms() + 1000)
            item["metadata"] |= {"deletionTimestamp": due, **grace}
            self.apply(kind, "MODIFIED", item)
        else:
            self.apply(kind, "DELETED", item)

    async def _create(self, request: web.Request, kind: str) -> web.StreamResponse:
        item = await request.json()
        item["metadata"]["uid"] = f"uid-{item['metadata']['name']}"
        mood = self.mood if kind == "pods" else "ok"
        if mood == "refuse":
            return refusal(403, "Forbidden")
        if mood in {"hang", "slow"}:
            self.hanging.set()
            while not self.down and self.mood == mood:
                await self._changed.wait()
            if mood == "hang" or self.down:
                return refusal(503, "ServiceUnavailable")
        if mood == "late":
            self._late.append(item)
        elif mood != "drop":
            self._make(kind, item)
        if mood in {"lose", "drop", "late"}:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(item, status=201)

    def land(self) -> None:
        """Let the creations be done that were late."""
        for item in self._late:
            self.landed.add(item["metadata"]["name"])
            self._make("pods", item)
        self._late.clear()

    def _make(self, kind: str, item: Object) -> None:
        if kind == "pods":
            item["status"] = {"phase": "Pending"}
            if self.schedules and (where := self._place(item)):
                item["spec"]["nodeName"] = where
        self.apply(kind, "ADDED", item)

    def _place(self, pod: Object) -> str | None:
        """Find a node of its class with room for it, as the scheduler does."""
        model = pod["metadata"]["labels"]["kgpu.net/gpu-model"]
        for name, item in self.objects["nodes"].items():
            there = [p for p in self.pods.values() if p["spec"].get("nodeName") == name]
            room = int(item["status"]["allocatable"]["nvidia.com/gpu"]) - sum(map(gpus, there))
            if item["metadata"]["labels"]["kgpu.net/gpu-model"] == model and gpus(pod) <= room:
                return name
        return None

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        seen = int(request.query["resourceVersion"])
        while not self.down:
            if seen < self._expired_before:
                status = {"code": 410, "reason": "Expired", "message": "too old"}
                await send(response, {"type": "ERROR", "object": status})
                break
            changed = self._changed
            for version, event in self._events[kind]:
                if version > seen:
                    seen = version
                    await send(response, event)
            await changed.wait()
            if request.transport is None:
                # Whoever watched is gone.
                break
        return response


def merge(item: Object, patch: Object) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(item.get(key), dict):
            merge(item[key], value)
        else:
            item[key] = value


async def send(response: web.StreamResponse, event: Object) -> None:
    await response.write(json.dumps(event).encode() + b"\n")


def refusal(status: int, reason: str) -> web.Response:
    body = {"kind": "Status", "reason": reason, "message": f"said {reason}", "code": status}
    return web.json_response(body, status=status)


@asynccontextmanager
async def serve(api: FakeApi, kubeconfig: Path) -> AsyncIterator[None]:
    """Serve on a free port and write a kubeconfig for it."""
    app = web.Application()
    for path in ("/api/v1/{kind:nodes}", "/api/v1/namespaces/kgpu/{kind}"):
        app.router.add_route("*", path, api.handle)
        app.router.add_route("*", path + "/{name}", api.handle)
    app.router.add_get("/api/v1/{kind:namespaces}/{name}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": TOKEN}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    try:
        yield
    finally:
        api.stop()
        await runner.cleanup()
