"""The pods that the recorded execs ran in, as the local cluster can have them."""

import asyncio
import time
from typing import Any

import aiohttp

from .clusters import Document, is_ready, waiting_reason
from .exec_player import WITHIN, Place

_PATH = "/api/v1/namespaces/default/pods"
_FULL = "kgpu-pytorch:latest"


def _pod(name: str, image: str = _FULL, **container: Any) -> Document:
    main = {"name": "main", "image": image, "workingDir": "/", **container}
    spec = {"restartPolicy": "Never", "containers": [main]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _is_over(document: Document) -> bool:
    return document["status"]["phase"] in ("Failed", "Succeeded")


async def prepare(place: Place) -> None:
    """Create the pods and return when each is as it was when it was recorded."""
    two = _pod("two")
    two["spec"]["containers"].append({"name": "c2", "image": _FULL})
    pods = [_pod("w1"), _pod("b1", "bare:latest"), _pod("done"), _pod("failed3"), two]
    pods.append(_pod("badimg", "no.such/image:1"))
    pods.append(_pod("pend", resources={"limits": {"nvidia.com/gpu": "64"}}))
    headers = {"Authorization": f"Bearer {place.token}"}
    async with aiohttp.ClientSession(place.url, headers=headers) as session:
        for pod in pods:
            async with session.post(_PATH, json=pod) as response:
                assert response.status == 201, await response.text()
        for name in ("w1", "b1", "done", "failed3"):
            await _wait(session, name, is_ready)
        for name in ("done", "failed3"):
            await place.run(name, "kill", "-TERM", "1")
            await _wait(session, name, _is_over)
        await _wait(session, "badimg", lambda one: bool(waiting_reason(one)))


async def _wait(session: aiohttp.ClientSession, name: str, reached: Any) -> None:
    deadline = time.monotonic() + WITHIN
    while True:
        async with session.get(f"{_PATH}/{name}") as response:
            document = await response.json()
        if reached(document):
            return
        assert time.monotonic() < deadline, document["status"]
        await asyncio.sleep(0.02)
