"""kill -9 of the daemon at every step of rent, charge, rotate and release.

The cluster is this process: it kills the daemon when a request arrives, or when it is done and not
answered. Before a commit the test holds the store's lock, after one it sees what was written. The
next daemon on the same state loses nothing and does nothing twice, and the key that counts gets in.
"""

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncssh
import pytest
from aiohttp import web

from kgpud.clock import SystemClock
from store import check
from store.db import Database
from tests.platform.child import BOUND, Child, serving, sign_up
from tests.platform.fake_api import FakeApi, node, serve

UNWRITTEN, ARRIVES, DONE = "before it is written", "arrives", "is done"
REQUESTS = {
    "rent": ["POST secrets", "POST pods", "PATCH secrets"],
    "rotate": ["PATCH pods"],
    "release": ["DELETE pods", "DELETE secrets"],
}
STEPS = [
    *((move, "", UNWRITTEN) for move in (*REQUESTS, "charge")),
    *((m, request, when) for m in REQUESTS for request in REQUESTS[m] for when in (ARRIVES, DONE)),
    *(("charge", column, "is written") for column in ("started_at", "charged_minutes")),
]
# One of each kind; the others take a second or two each.
QUICK = {
    ("rent", "POST pods", DONE),
    ("rotate", "PATCH pods", ARRIVES),
    ("release", "DELETE secrets", DONE),
    ("charge", "charged_minutes", "is written"),
}
Step = tuple[str, str, str]


def named(step: Step) -> str:
    move, what, when = step
    return f"{move}: {what} {when}" if what else f"{move}: {when}"


class DeadlyApi(FakeApi):
    """Kills a daemon at one request; `hit` says that it came to that."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.child: Child | None = None
        self.at: tuple[str, str] | None = None
        self.hit = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        here = f"{request.method} {request.match_info['kind']}"
        self._perhaps_kill(here, ARRIVES)
        answer = await super().handle(request)
        self._perhaps_kill(here, DONE)
        return answer

    def _perhaps_kill(self, *here: str) -> None:
        if self.at == here:
            self.at = None
            assert self.child is not None
            self.child.process.kill()
            self.hit.set()
            raise web.HTTPServiceUnavailable


def new_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()


@dataclass
class Place:
    """A cluster, a state folder, and a customer whose rental has one key and then another."""

    api: DeadlyApi
    state: Path
    kubeconfig: Path
    token: str = ""
    first: asyncssh.SSHKey = field(default_factory=new_key)
    second: asyncssh.SSHKey = field(default_factory=new_key)

    def daemon(self) -> Any:
        return serving(self.state, self.kubeconfig)

    def rows(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.state / "kgpud.sqlite3")) as raw:
            raw.row_factory = sqlite3.Row
            found = raw.execute(
                "SELECT r.*, k.generation, k.fingerprint FROM rentals r"
                " LEFT JOIN keys k ON k.pod_id = r.pod_id AND k.retired_at IS NULL"
            ).fetchall()
        return [dict(row) for row in found]

    def row(self) -> dict[str, Any]:
        [row] = self.rows()
        return row

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        """Hold the store's lock, as a daemon does that is just before its commit."""
        with closing(sqlite3.connect(self.state / "kgpud.sqlite3", isolation_level=None)) as raw:
            raw.execute("BEGIN IMMEDIATE")
            yield

    async def sound(self) -> None:
        """Assert what `kgpud db check` does."""
        async with Database.open(self.state / "kgpud.sqlite3") as db, db.reading() as rx:
            assert await check.disagreements(rx) == []

    def run(self, pod_id: str) -> None:
        self.api.run(pod_id, time.time_ns() // 1_000_000)

    async def ask(self, child: Child, move: str, pod_id: str = "") -> dict[str, Any]:
        """Make a move, as a client does that makes it again until it is answered."""
        path = f"/pods/{pod_id}"
        if move == "rent":
            body = {"cpu": "1", "memory": "1Gi", "ssh_pubkey": public(self.first)}
            status, answer = await child.call("POST", "/pods", self.token, key="once", **body)
        elif move == "rotate":
            body = {"ssh_pubkey": public(self.second)}
            status, answer = await child.call("PATCH", path, self.token, **body)
        else:
            status, answer = await child.call("DELETE", path, self.token)
        assert status == 200, answer
        return dict(answer)

    async def ready(self, child: Child, pod_id: str) -> None:
        await child.eventually(f"/pods/{pod_id}", self.token, lambda pod: bool(pod["ready"]))


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(BOUND):
        while not true():  # noqa: ASYNC110 - the other side is a process
            await asyncio.sleep(0.005)


async def gets_in(child: Child, key: asyncssh.SSHKey) -> bool:
    """Log in as an SSH client with this key alone; return whether it is let in."""
    try:
        async with asyncio.timeout(BOUND):
            async with asyncssh.connect(
                "127.0.0.1",
                child.ssh_port,
                username="kgpu",
                client_keys=[key],
                known_hosts=None,
                agent_path=None,
                config=None,
            ):
                return True
    except asyncssh.PermissionDenied:
        return False


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    api = DeadlyApi()
    api.apply("nodes", "ADDED", node("n1", "rtx4090", 4))
    async with serve(api, tmp_path / "kubeconfig"):
        yield Place(api, tmp_path / "state", tmp_path / "kubeconfig")


async def kill_in(place: Place, child: Child, step: Step) -> None:
    """Bring a rental to the step, and kill the daemon there."""
    move, what, when = step
    place.token = await sign_up(place.state)
    pod_id = ""
    if move != "rent":
        pod_id = (await place.ask(child, "rent"))["pod_id"]
    if move in {"rotate", "release"}:
        place.run(pod_id)
        await place.ready(child, pod_id)
    if when == UNWRITTEN:
        await kill_before_commit(place, child, move, pod_id)
    elif move == "charge":
        place.run(pod_id)
        await until(lambda: place.row()[what])
        await child.kill()
    else:
        place.api.child, place.api.at = child, (what, when)
        # A release is answered before the cluster is asked; the other moves lose their answer.
        with suppress(aiohttp.ClientError):
            await place.ask(child, move, pod_id)
        async with asyncio.timeout(BOUND):
            await place.api.hit.wait()
            assert await child.process.wait() == -signal.SIGKILL


async def kill_before_commit(place: Place, child: Child, move: str, pod_id: str) -> None:
    async def unanswered() -> None:
        with pytest.raises(aiohttp.ClientError):
            await place.ask(child, move, pod_id)

    with place.unwritable():
        async with asyncio.TaskGroup() as group:
            if move == "charge":
                place.run(pod_id)
            else:
                group.create_task(unanswered())
            # It answers others meanwhile, so it has taken in what came before them.
            for _ in range(3):
                assert (await child.call("GET", "/pods", place.token))[0] == 200
            await child.kill()


async def check_kept(place: Place, child: Child, step: Step) -> str:
    """Assert that the next daemon takes up where the last one was; return the pod's name."""
    move, _, when = step
    if move == "rent":
        pod_id = str((await place.ask(child, "rent"))["pod_id"])
    else:
        pod_id = str(place.row()["pod_id"])
    done = when != UNWRITTEN
    there = pod_id in place.api.pods
    if there and move in {"rent", "charge"}:
        place.run(pod_id)
    if there and not (move == "release" and done):
        await place.ready(child, pod_id)
        rotated = move == "rotate" and done
        assert await gets_in(child, place.first) is not rotated
        assert await gets_in(child, place.second) is rotated
    before = place.row()
    assert (before["ended_at"] is not None) == (move == "release" and done)
    if move == "rotate":
        await place.ask(child, "rotate", pod_id)
        assert (place.row()["generation"], await gets_in(child, place.second)) == (2, True)
    if move == "charge":
        await until(lambda: place.row()["charged_minutes"])
    released = await place.ask(child, "release", pod_id)
    assert released["pod_id"] == pod_id
    assert before["ended_at"] in (None, place.row()["ended_at"])
    return pod_id


async def check_over(place: Place, child: Child, pod_id: str) -> None:
    """Assert that nothing of a released rental stays, that it is billed once and opens nothing."""
    api = place.api
    await until(lambda: not api.objects["secrets"])
    if pod_id in api.pods:
        await until(lambda: "deletionTimestamp" in api.pods[pod_id]["metadata"])
        api.remove(pod_id)
        await child.eventually(f"/pods/{pod_id}", place.token, lambda pod: pod["phase"] == "Ended")
    row = place.row()
    assert (row["pod_id"], row["end_reason"]) == (pod_id, "returned")
    ran = None if row["started_at"] is None else row["ended_at"] - row["started_at"]
    assert row["charged_minutes"] == (0 if ran is None else ran // 60_000 + 1)
    assert [verb for verb, path in api.log if path.endswith("/pods")].count("POST") <= 1
    assert not await gets_in(child, place.first)
    assert not await gets_in(child, place.second)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(step, id=named(step), marks=[] if step in QUICK else pytest.mark.slow)
        for step in STEPS
    ],
)
async def test_killed_at(place: Place, step: Step) -> None:
    async with place.daemon() as child:
        await kill_in(place, child, step)
    await place.sound()
    async with place.daemon() as child:
        pod_id = await check_kept(place, child, step)
        await place.sound()
        await check_over(place, child, pod_id)
    await place.sound()
