"""The pods that the recorded execs ran in, as the local cluster can have them."""

import asyncio
import time
from typing import Any

import aiohttp

from .clusters import Document, is_ready, waiting_reason
from .exec_player import WITHIN, Place

_PATH = "/api/v1/namespaces/default/pods"
_RBAC = "rbac.authorization.k8s.io"
_RULES = f"/apis/{_RBAC}/v1/namespaces/default"
_EXEC_RIGHTS = {"alice": ("get",), "bob": ("create",), "carol": ("get", "create")}
_FULL = "kgpu-pytorch:latest"


def _pod(name: str, image: str = _FULL, **container: Any) -> Document:
    main = {"name": "main", "image": image, "workingDir": "/", **container}
    spec = {"restartPolicy": "Never", "containers": [main]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _is_over(document: Document) -> bool:
    return document["status"]["phase"] in ("Failed", "Succeeded")


def _rights(user: str, *verbs: str) -> list[tuple[str, Document]]:
    """Return the role and the binding that let a user do `verbs` on pods/exec."""
    rule = {"apiGroups": [""], "resources": ["pods/exec"], "verbs": list(verbs)}
    reference = {"apiGroup": _RBAC, "kind": "Role", "name": user}
    subject = {"apiGroup": _RBAC, "kind": "User", "name": user}
    common = {"apiVersion": f"{_RBAC}/v1", "metadata": {"name": user}}
    binding = {**common, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]}
    return [
        ("roles", {**common, "kind": "Role", "rules": [rule]}),
        ("rolebindings", binding),
    ]


async def prepare(place: Place) -> None:
    """Create the pods and return when each is as it was when it was recorded."""
    two = _pod("two")
    two["spec"]["containers"].append({"name": "c2", "image": _FULL, "command": ["sleep", "999"]})
    pods = [_pod("w1"), _pod("b1", "bare:latest"), two]
    pods.append(_pod("done", command=["true"]))
    pods.append(_pod("failed3", command=["sh", "-c", "exit 3"]))
    pods.append(_pod("badimg", "no.such/image:1"))
    pods.append(_pod("pend", resources={"limits": {"nvidia.com/gpu": "64"}}))
    headers = {"Authorization": f"Bearer {place.token}"}
    connector = aiohttp.TCPConnector(ssl=place.tls or True)
    async with aiohttp.ClientSession(place.url, headers=headers, connector=connector) as session:
        for pod in pods:
            async with session.post(_PATH, json=pod) as response:
                assert response.status == 201, await response.text()
        for user, verbs in _EXEC_RIGHTS.items():
            for plural, document in _rights(user, *verbs):
                async with session.post(f"{_RULES}/{plural}", json=document) as response:
                    assert response.status == 201, await response.text()
        for name in ("w1", "b1", "two"):
            await _wait(session, name, is_ready)
        for name in ("done", "failed3"):
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
