"""A real local cluster process, a client for it, and the recordings to compare with."""

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.recorded import files

WITHIN = 20.0

Document = dict[str, Any]


@dataclass(frozen=True)
class Running:
    """A started cluster process."""

    process: subprocess.Popen[bytes]
    url: str
    state: Path
    token: str

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(WITHIN)


@contextmanager
def running(
    state: Path,
    *options: str,
    stdin: int = subprocess.DEVNULL,
    python: Sequence[str] = (sys.executable,),
) -> Iterator[Running]:
    argv = [*python, "-m", "kgpud.localcluster", "--state", str(state), *options]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=stdin)
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        assert ready["ready"] is True
        text = Path(ready["kubeconfig"]).read_text()
        found = re.search(r'"token": "([^"]+)"', text)
        assert found is not None
        yield Running(process, ready["url"], state, found[1])
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()
        if process.stdin is not None:
            process.stdin.close()


@contextmanager
def anywhere() -> Iterator[Path]:
    """A folder that any uid can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def processes_of(cluster: Running) -> list[psutil.Process]:
    return psutil.Process(cluster.process.pid).children(recursive=True)


def helpers_of(cluster: Running) -> list[psutil.Process]:
    """Return the process beside each sandbox: what the cluster has started itself."""
    return psutil.Process(cluster.process.pid).children()


def pods_folders(state: Path) -> list[Path]:
    """Return the folders, by `state` or elsewhere, in which a cluster keeps its pods."""
    digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
    return [*state.glob("pods"), *Path("/var/tmp").glob(f"kgpud-pods-{digest}")]


def wait_gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    _gone, alive = psutil.wait_procs(processes, timeout=WITHIN)
    return [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@dataclass
class Result:
    """What one exec brought back."""

    output: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)
    status: Document | None = None
    close_code: int | None = None
    first: bytes | None = None
    longest: int = 0

    @property
    def out(self) -> bytes:
        return bytes(self.output)

    @property
    def err(self) -> bytes:
        return bytes(self.errors)

    @property
    def code(self) -> int | None:
        if self.status is None or self.status["status"] == "Success":
            return None if self.status is None else 0
        causes = self.status["details"]["causes"]
        return int(causes[0]["message"]) if causes[0].get("reason") == "ExitCode" else None

    def take(self, data: bytes) -> None:
        self.first = data if self.first is None else self.first
        self.longest = max(self.longest, len(data))
        if data[0] == 1:
            self.output += data[1:]
        elif data[0] == 2:
            self.errors += data[1:]
        elif data[0] == 3:
            self.status = json.loads(data[1:])


class Api:
    """The API as a client sees it, in the namespace kgpu."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def call(
        self, method: str, path: str, body: Any = None, **kwargs: Any
    ) -> tuple[int, Any]:
        if not path.startswith("/"):
            path = f"/api/v1/namespaces/kgpu/{path}"
        async with self.session.request(method, path, json=body, **kwargs) as response:
            return response.status, await response.json()

    async def create(self, name: str, **changes: Any) -> Document:
        status, document = await self.call("POST", "pods", pod(name, **changes))
        assert status == 201, document
        return dict(document)

    async def get(self, name: str) -> Document:
        status, document = await self.call("GET", f"pods/{name}")
        assert status == 200, document
        return dict(document)

    async def watch(self, **params: str) -> AsyncIterator[Document]:
        query = {"watch": "1", **params}
        async with self.session.get("/api/v1/namespaces/kgpu/pods", params=query) as response:
            async for line in response.content:
                yield json.loads(line)

    async def wait(self, name: str, reached: Callable[[Document], bool]) -> Document:
        async with asyncio.timeout(WITHIN):
            async for event in self.watch(fieldSelector=f"metadata.name={name}"):
                if event["type"] != "DELETED" and reached(event["object"]):
                    return dict(event["object"])
        raise AssertionError(name)

    async def until(self, path: str, reached: Callable[[Document], bool]) -> Document:
        """Ask for `path` again until its answer is as wanted."""
        deadline = time.monotonic() + WITHIN
        while not reached(document := (await self.call("GET", path))[1]):
            assert time.monotonic() < deadline, document
            await asyncio.sleep(0.01)
        return dict(document)

    async def gone(self, path: str) -> None:
        await self.until(path, lambda document: document.get("code") == 404)

    async def ready(self, name: str, **changes: Any) -> Document:
        await self.create(name, **changes)
        return await self.wait(name, is_ready)

    async def delete(self, name: str, grace: int = 0) -> Document:
        _status, document = await self.call(
            "DELETE", f"pods/{name}", params={"gracePeriodSeconds": str(grace)}
        )
        return dict(document)

    def connect(self, name: str, *argv: str, **options: Any) -> Any:
        protocol = options.pop("protocol", "v5.channel.k8s.io")
        method = options.pop("method", "GET")
        streams = {"stdout": True, "stderr": True, "stdin": False, "tty": False, **options}
        if streams["tty"]:
            streams["stderr"] = False
        query = [(key, "true") for key, value in streams.items() if value]
        query += [("command", part) for part in argv]
        return self.session.ws_connect(
            f"/api/v1/namespaces/kgpu/pods/{name}/exec",
            params=query,
            protocols=[protocol],
            method=method,
            max_msg_size=0,
        )

    async def execute(
        self, name: str, *argv: str, stdin: bytes | None = None, **options: Any
    ) -> Result:
        async with (
            asyncio.timeout(WITHIN),
            self.connect(name, *argv, stdin=stdin is not None, **options) as socket,
        ):
            if stdin is not None:
                await socket.send_bytes(b"\0" + stdin)
                await socket.send_bytes(b"\xff\0")
            return await finish(socket)


async def finish(socket: aiohttp.ClientWebSocketResponse, result: Result | None = None) -> Result:
    result = result or Result()
    async for message in socket:
        result.take(message.data)
    result.close_code = socket.close_code
    return result


_OF_THE_POD = (
    "nodeSelector", "affinity", "volumes", "restartPolicy", "containers", "tolerations",
    "runtimeClassName",
)  # fmt: skip


def pod(name: str, **changes: Any) -> Document:
    container: Document = {"name": "main", "image": "kgpu-pytorch:latest"}
    spec: Document = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5}
    for key, value in changes.items():
        (spec if key in _OF_THE_POD else container)[key] = value
    spec.setdefault("containers", [container])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def is_ready(document: Document) -> bool:
    conditions = document["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def waiting_reason(document: Document) -> str | None:
    for container in document["status"].get("containerStatuses", []):
        reason: str | None = container["state"].get("waiting", {}).get("reason")
        return reason
    return None


def recorded_status(case: str) -> Document:
    """Return the document of channel 3 in a recorded exec."""
    for row in files.rows(f"exec-1.36-default/{case}"):
        if row.get("ch") == 3:
            return dict(json.loads(row["text"]))
    raise AssertionError(case)
