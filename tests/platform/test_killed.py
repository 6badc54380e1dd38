"""kill -9 of the daemon at every request of rent, rotate and release, and around a charge.

The cluster is this process: it kills the daemon when a request arrives, or when it is done and not
answered. The next daemon on the same state loses nothing and does nothing twice.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from store import check
from store.db import Database
from tests.platform.child import BOUND, Child, serving, sign_up
from tests.platform.fake_api import FakeApi, node, serve

ARRIVES, DONE = "arrives", "is done"

RENT = [("POST", "secrets"), ("POST", "pods"), ("PATCH", "secrets")]
ROTATE = [("PATCH", "pods")]
RELEASE = [("DELETE", "pods"), ("DELETE", "secrets")]
STEPS = [
    pytest.param(move, method, kind, when, id=f"{move}: {method} {kind} {when}")
    for move, requests in (("rent", RENT), ("rotate", ROTATE), ("release", RELEASE))
    for method, kind in requests
    for when in (ARRIVES, DONE)
]


class DeadlyApi(FakeApi):
    """Kills a daemon at one request; `hit` says that it came to that."""

    def __init__(self) -> None:
        super().__init__()
        self.child: Child | None = None
        self.at: tuple[str, str, str] | None = None
        self.hit = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        here = (request.method, request.match_info["kind"])
        await self._perhaps_kill(*here, ARRIVES)
        answer = await super().handle(request)
        await self._perhaps_kill(*here, DONE)
        return answer

    async def _perhaps_kill(self, *here: str) -> None:
        if self.at == here:
            self.at = None
            assert self.child is not None
            # Not a step later: aiohttp may cancel us once the connection is gone.
            self.child.process.kill()
            self.hit.set()
            raise web.HTTPServiceUnavailable


@dataclass
class Place:
    api: DeadlyApi
    state: Path
    kubeconfig: Path

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

    async def until(self, true: Any) -> None:
        async with asyncio.timeout(BOUND):
            while not true():  # noqa: ASYNC110 - the other side is a process
                await asyncio.sleep(0.005)

    async def sound(self) -> None:
        """Assert what `kgpud db check` does."""
        async with Database.open(self.state / "kgpud.sqlite3") as db, db.reading() as rx:
            assert await check.disagreements(rx) == []


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    api = DeadlyApi()
    api.apply("nodes", "ADDED", node("n1", "rtx4090", 4))
    async with serve(api, tmp_path / "kubeconfig"):
        yield Place(api, tmp_path / "state", tmp_path / "kubeconfig")


@asynccontextmanager
async def dying(child: Child) -> AsyncIterator[None]:
    """Do what may lose its connection because the daemon dies."""
    try:
        yield
    except aiohttp.ClientError:
        assert child.process.returncode is not None


async def rented(place: Place, child: Child, token: str) -> str:
    status, answer = await child.call("POST", "/pods", token, cpu="1", memory="1Gi")
    assert status == 200, answer
    pod_id = str(answer["pod_id"])
    place.api.run(pod_id, time.time_ns() // 1_000_000)
    await child.eventually(f"/pods/{pod_id}", token, lambda pod: bool(pod["ready"]))
    return pod_id


async def killed_in(place: Place, move: str, at: tuple[str, str, str]) -> str:
    """Kill a daemon in one move; return the account's token."""
    api = place.api
    async with place.daemon() as child:
        token = await sign_up(place.state)
        pod_id = "" if move == "rent" else await rented(place, child, token)
        api.child, api.at = child, at
        async with dying(child):
            if move == "rent":
                await child.call("POST", "/pods", token, cpu="1", memory="1Gi")
            else:
                method = "PATCH" if move == "rotate" else "DELETE"
                await child.call(method, f"/pods/{pod_id}", token)
        async with asyncio.timeout(BOUND):
            await api.hit.wait()
            await child.process.wait()
    return token


@pytest.mark.slow
@pytest.mark.parametrize(("move", "method", "kind", "when"), STEPS)
async def test_killed_at_every_request(
    place: Place, move: str, method: str, kind: str, when: str
) -> None:
    await check_killed(place, move, method, kind, when)


async def check_killed(place: Place, move: str, method: str, kind: str, when: str) -> None:
    api = place.api
    token = await killed_in(place, move, (method, kind, when))
    [row] = place.rows()
    pod_id = row["pod_id"]
    assert (row["ended_at"] is not None) == (move == "release")
    async with place.daemon() as child:
        pod = (await child.call("GET", f"/pods/{pod_id}", token))[1]
        if move == "rotate":
            assert (row["generation"], pod["ssh_access"]["fingerprint"]) == (2, row["fingerprint"])
        if move != "release":
            if pod_id in api.pods:
                api.run(pod_id, time.time_ns() // 1_000_000)
                # Who has the key gets in again: the rental is found by it, and ready.
                await child.eventually(f"/pods/{pod_id}", token, lambda one: bool(one["ready"]))
            assert (await child.call("DELETE", f"/pods/{pod_id}", token))[0] == 200
        await place.until(lambda: not api.objects["secrets"])
        if pod_id in api.pods:
            await place.until(lambda: "deletionTimestamp" in api.pods[pod_id]["metadata"])
            api.remove(pod_id)
            await child.eventually(f"/pods/{pod_id}", token, lambda one: one["phase"] == "Ended")
        assert (await child.call("GET", f"/pods/{pod_id}", token))[1]["end_reason"] == "returned"
    # Nothing was made twice.
    assert [row["pod_id"] for row in place.rows()] == [pod_id]
    assert [verb for verb, path in api.log if path.endswith("/pods")].count("POST") <= 1
    await place.sound()


@pytest.mark.slow
@pytest.mark.parametrize("column", ["started_at", "charged_minutes"])
async def test_killed_around_a_charge(place: Place, column: str) -> None:
    """As soon as the start, or the first minute's charge, is on the disk."""
    async with place.daemon() as child:
        token = await sign_up(place.state)
        status, answer = await child.call("POST", "/pods", token, cpu="1", memory="1Gi")
        assert status == 200
        place.api.run(answer["pod_id"], time.time_ns() // 1_000_000)
        await place.until(lambda: place.rows()[0][column])
        await child.kill()
    await place.sound()
    async with place.daemon() as child:
        await place.until(lambda: place.rows()[0]["charged_minutes"])
        assert (await child.call("DELETE", f"/pods/{answer['pod_id']}", token))[0] == 200
    [row] = place.rows()
    ran = row["ended_at"] - row["started_at"]
    assert (row["charged_minutes"], row["cost"]) == (ran // 60_000 + 1, 16)
    await place.sound()
