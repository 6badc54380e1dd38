"""A recorded pod's life, and the same requests sent to a local cluster: what a user saw of each."""

import asyncio
import json
import re
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.recorded import files

Document = dict[str, Any]
WITHIN = 40.0
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The explicit differences: what a message says of one run, of one address, of how fast this
# kubelet was set, or of why this cluster can't have an image.
_SAME = (
    (_UID, "UID"),
    (re.compile(r"\b10\.67\.\d+\.\d+"), "POD-IP"),
    (re.compile(r"back-off [\d.]+s"), "back-off Ns"),
    (re.compile(r"(failed to resolve image: ).*"), r"\1…"),
)


_UNTIL_TERM_IS_CAUGHT = (
    "until grep -q '^SigCgt:.*[4-7c-f][0-9a-f][0-9a-f][0-9a-f]$' /proc/1/status; do sleep .02; done"
)


@dataclass
class Life:
    """What a user saw: states of the object, Events, and answers, each in order."""

    states: list[Document] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def see(self, row: Document) -> None:
        state = _state(row)
        if not self.states or self.states[-1] != state:
            self.states.append(state)
        woken, self.changed = self.changed, asyncio.Event()
        woken.set()

    def hear(self, event: Document) -> None:
        said = (event["type"], event["reason"], _plain(event["message"]))
        # Of this node's own making, and a probe that met a container as it ended.
        strange = said[1] == "MissingClusterDNS" or "resulted in unknown state" in said[2]
        if not strange and said not in self.events:
            self.events.append(said)


def _plain(text: str) -> str:
    for pattern, replacement in _SAME:
        text = pattern.sub(replacement, text)
    return text


def _state(row: Document) -> Document:
    """Return what a user sees of a pod; times, ids and addresses only as far as they are there."""
    status = row["status"]
    return {
        "phase": status["phase"],
        "reason": status.get("reason"),
        "message": status.get("message"),
        "conditions": [
            (one["type"], one["status"], one.get("reason"), one.get("message"))
            for one in status.get("conditions", [])
        ],
        "containers": [_container(one) for one in status.get("containerStatuses", [])],
        "addresses": ["hostIP" in status, "podIP" in status, "startTime" in status],
        "node": row["nodeName"],
        "deleting": row["deletionTimestamp"] is not None,
        "grace": row["deletionGracePeriodSeconds"],
        "gone": row["type"] == "DELETED",
    }


def _container(status: Document) -> Document:
    return {
        "state": _part(status["state"]),
        "last": _part(status["lastState"]),
        "ready": status["ready"],
        "started": status["started"],
        "restarts": status["restartCount"],
        "image": status["image"],
        "has an id": bool(status.get("containerID")),
        "allocated": status.get("allocatedResources"),
        "mounts": status.get("volumeMounts"),
    }


def _part(state: Document) -> Any:
    for kind, said in state.items():
        times = {name: bool(said[name]) for name in ("startedAt", "finishedAt") if name in said}
        ids = {"containerID": bool(said.get("containerID"))}
        message = {"message": _plain(said["message"])} if "message" in said else {}
        return {kind: {**said, **times, **ids, **message}}
    return None


def recorded(case: str) -> Life:
    """Return the life that a recording tells of."""
    life = Life()
    for row in files.rows(case):
        kind = row.get("ev")
        if kind == "watch":
            life.see(row)
        elif kind == "k8s_event" and row["type"] == "ADDED":
            life.hear(row["event"])
        elif answer := _recorded_answer(row):
            life.answers.append(answer)
    return life


def _recorded_answer(row: Document) -> Any:
    if row.get("ev") in ("create_response", "delete_response"):
        return (row["ev"], row["status"])
    if row.get("ch") == 3:
        return ("exec", json.loads(row["text"]))
    if "status" in row and isinstance(row.get("body"), dict):
        return (row["ev"], row["status"], _body(row["ev"], row["body"]))
    return None


def _body(kind: str, body: Document) -> Any:
    """Return a whole Status document, but of a pod only how its end was marked."""
    if kind == "force_delete":
        return body["metadata"]["deletionGracePeriodSeconds"]
    return json.loads(_UID.sub("UID", json.dumps(body)))


class Player:
    """Sends a recording's requests to a cluster, each when the recorder had seen as much."""

    def __init__(self, session: aiohttp.ClientSession, case: str, delete_after: int | None) -> None:
        self._session = session
        self._rows = files.rows(case)
        self._delete_after = delete_after
        self._body = next(row["body"] for row in self._rows if row.get("ev") == "create_request")
        self._name = self._body["metadata"]["name"]
        self._pods = "/api/v1/namespaces/default/pods"
        self._exec: asyncio.Task[Any] | None = None
        self.life = Life()

    async def play(self) -> Life:
        """Return the life that the cluster's pod had; every step is bounded."""
        version = await self._version()
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(version))
            await self._send(group)
            await self._until(lambda: bool(self.life.states) and self.life.states[-1]["gone"])
            await self._hear_all()
            watch.cancel()
        return self.life

    async def _send(self, group: asyncio.TaskGroup) -> None:
        seen = Life()
        for row in self._rows:
            kind = row.get("ev")
            if kind == "watch":
                seen.see(row)
            elif kind == "request":
                await self._seen(len(seen.states))
                self._exec = group.create_task(self._execute(row["path"]))
            elif kind == "end" and self._exec is not None:
                self.life.answers.append(await self._exec)
            elif kind == "delete_request":
                await self._seen(self._delete_after or self._before_deletion())
                await self._trapped()
                await self._ask("delete_response", "DELETE", f"{self._pods}/{self._name}")
            elif kind in _SENT:
                await self._seen(min(len(seen.states), self._before_deletion()))
                await _SENT[kind](self)

    async def _trapped(self) -> None:
        """Return when a PID 1 that means to catch TERM does: the recorder came seconds later."""
        (container,) = self._body["spec"]["containers"]
        if 'trap "exit' in " ".join(container["command"]):
            query = urllib.parse.urlencode({"stdout": "1", "command": "sh"})
            query += "&" + urllib.parse.urlencode({"command": "-c"})
            query += "&" + urllib.parse.urlencode({"command": _UNTIL_TERM_IS_CAUGHT})
            await self._execute(f"{self._pods}/{self._name}/exec?{query}")

    def _before_deletion(self) -> int:
        life = Life()
        for row in self._rows:
            if row.get("ev") == "watch" and row["deletionTimestamp"] is None:
                life.see(row)
        return len(life.states)

    async def _seen(self, states: int) -> None:
        await self._until(lambda: len(self.life.states) >= states)

    async def _until(self, true: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(WITHIN):
                while not true():
                    await self.life.changed.wait()
        except TimeoutError:
            return  # the comparison tells what was missing

    async def _hear_all(self) -> None:
        """List the Events: their names begin with the time, so they come in order."""
        query = {"fieldSelector": f"involvedObject.name={self._name}"}
        path = "/api/v1/namespaces/default/events"
        async with self._session.get(path, params=query) as response:
            for event in (await response.json())["items"]:
                self.life.hear(event)

    async def _version(self) -> str:
        async with self._session.get(self._pods) as response:
            return str((await response.json())["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> None:
        selector = f"metadata.name={self._name}"
        query = {"watch": "1", "fieldSelector": selector, "resourceVersion": version}
        async with self._session.get(self._pods, params=query) as response:
            async for line in response.content:
                change = json.loads(line)
                pod = change["object"]
                names = ("deletionTimestamp", "deletionGracePeriodSeconds")
                row = {name: pod["metadata"].get(name) for name in names}
                node = pod["spec"].get("nodeName")
                self.life.see({**row, **change, "nodeName": node, "status": pod["status"]})

    async def _ask(self, kind: str, method: str, path: str, body: Any = None, **query: str) -> None:
        async with self._session.request(method, path, json=body, params=query) as response:
            answer = await response.json()
            if kind in ("create_response", "delete_response"):
                self.life.answers.append((kind, response.status))
            else:
                self.life.answers.append((kind, response.status, _body(kind, answer)))

    async def _execute(self, path: str) -> Any:
        query = urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query)
        where = urllib.parse.urlsplit(path).path
        async with self._session.ws_connect(
            where, params=query, protocols=["v5.channel.k8s.io"]
        ) as socket:
            status = None
            async for message in socket:
                if message.data[0] == 3:
                    status = json.loads(message.data[1:])
            return ("exec", status)

    async def create(self) -> None:
        await self._ask("create_response", "POST", self._pods, self._body)

    async def get_after_delete(self) -> None:
        await self._until(lambda: self.life.states[-1]["gone"])
        await self._ask("get_after_delete", "GET", f"{self._pods}/{self._name}")

    async def second_create(self) -> None:
        await self._ask("second_create", "POST", self._pods, self._body)

    async def delete_nonexistent(self) -> None:
        await self._ask("delete_nonexistent", "DELETE", f"{self._pods}/nonexist")

    async def delete_uid_precondition(self) -> None:
        options = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
        path = f"{self._pods}/{self._name}"
        await self._ask("delete_uid_precondition", "DELETE", path, options)

    async def create_invalid_name(self) -> None:
        body = {**self._body, "metadata": {"name": "Bad_Name"}}
        await self._ask("create_invalid_name", "POST", self._pods, body)

    async def create_no_containers(self) -> None:
        body = {**self._body, "metadata": {"name": "neg"}, "spec": {"containers": []}}
        await self._ask("create_no_containers", "POST", self._pods, body)

    async def force_delete(self) -> None:
        path = f"{self._pods}/{self._name}"
        await self._ask("force_delete", "DELETE", path, gracePeriodSeconds="0")


_SENT: dict[str, Callable[[Player], Awaitable[None]]] = {
    "create_request": Player.create,
    **{
        name: getattr(Player, name)
        for name in (
            "second_create",
            "delete_nonexistent",
            "delete_uid_precondition",
            "create_invalid_name",
            "create_no_containers",
            "force_delete",
            "get_after_delete",
        )
    },
}
