"""API servers that are busy, and namespaces that are full of others' pods."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from kgpud.cluster.client import Cluster, Event, Listing
from kgpud.cluster.errors import Expired, Unreachable
from kgpud.cluster.follow import Source, follow
from kgpud.cluster.pods import derive
from kgpud.cluster.transport import _seconds
from kgpud.cluster.view import ClusterView
from kgpud.cluster_settings import Kubernetes
from tests.manual_clock import ManualClock
from tests.platform.world import until

from .api import client, serving, write

TOO_MANY = {"kind": "Status", "message": "Too many requests", "reason": "TooManyRequests"}


def pod(name: str, version: int = 1) -> dict[str, Any]:
    metadata = {"name": name, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}


def listing(items: list[Any], version: str = "1", more: str = "") -> web.Response:
    metadata = {"resourceVersion": version, "continue": more}
    return web.json_response({"items": items, "metadata": metadata})


def kubeconfig(folder: Path, port: int) -> Kubernetes:
    return Kubernetes(write(folder / "k", {"server": f"http://127.0.0.1:{port}"}, {"token": "t"}))


class Busy:
    """Turns requests away so many times, and then makes pods."""

    def __init__(self, times: int, retry_after: str) -> None:
        self.left = times
        self.asked = 0
        self._retry_after = retry_after

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        await request.read()
        if self.left:
            self.left -= 1
            headers = {"Retry-After": self._retry_after} if self._retry_after else {}
            return web.json_response(TOO_MANY, status=429, headers=headers)
        return web.json_response(pod("made"), status=201)


async def test_a_busy_server_is_asked_again_when_it_said(tmp_path: Path) -> None:
    busy = Busy(1, "1")
    async with serving(busy.answer) as port, client(kubeconfig(tmp_path, port)) as it:
        began = asyncio.get_running_loop().time()
        made = await it.create_pod({"metadata": {"name": "made"}})
        assert asyncio.get_running_loop().time() - began >= 1
    assert (made["metadata"]["name"], busy.asked) == ("made", 2)


async def test_a_server_that_is_busy_for_long_is_given_up(tmp_path: Path) -> None:
    busy = Busy(99, "60")
    async with serving(busy.answer) as port, client(kubeconfig(tmp_path, port)) as it:
        with pytest.raises(Unreachable) as given_up:
            await it.create_pod({})
    assert (given_up.value.status, given_up.value.retry_after) == (429, 60)
    assert not given_up.value.maybe_done
    assert busy.asked == 1


@pytest.mark.parametrize("said", ["", "99999999", "1e9", "-1", "Tue, 24 Nov 2026 03:00:00 GMT"])
def test_what_is_no_number_of_seconds_is_none(said: str) -> None:
    assert _seconds(said) == 0.0


class Cluster5000:
    """A namespace of 5,000 pods that are not ours, told in pages; watches as scripted."""

    def __init__(self) -> None:
        self.pods = [pod(f"other-{number:04}") for number in range(5000)]
        self.lists: list[int] = []
        self.watched: list[str] = []
        self.expires = 0
        self.waits, self.ends = asyncio.Event(), asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch"):
            return await self._watch(request)
        start = int(request.query.get("continue") or 0)
        self.lists.append(start)
        if start == self.expires != 0:
            self.expires = 0
            return web.json_response({"kind": "Status", "message": "too old"}, status=410)
        following = start + int(request.query["limit"])
        more = str(following) if following < len(self.pods) else ""
        return listing(self.pods[start:following], "7", more)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.watched.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if len(self.watched) == 1:
            bookmark = {"kind": "Pod", "metadata": {"resourceVersion": "900"}}
            for event in (
                {"type": "MODIFIED", "object": pod("other-0001", 8)},
                {"type": "BOOKMARK", "object": bookmark},
            ):
                await response.write(json.dumps(event).encode() + b"\n")
            await self.waits.wait()
            return response
        await self.ends.wait()
        return response


async def test_thousands_of_pods_come_in_pages(tmp_path: Path) -> None:
    api = Cluster5000()
    async with serving(api.answer) as port, client(kubeconfig(tmp_path, port)) as it:
        assert len((await it.list_pods()).items) == 5000
        assert api.lists == list(range(0, 5000, 100))
        api.expires = 2500
        with pytest.raises(Expired):
            await it.list_pods()
        assert len((await it.list_pods()).items) == 5000


async def test_no_more_is_kept_of_thousands_of_pods_than_is_wanted(tmp_path: Path) -> None:
    api, peaks = Cluster5000(), []
    async with serving(api.answer) as port, client(kubeconfig(tmp_path, port)) as it:
        tracemalloc.start()
        try:
            for listing in (it.list_pods, partial(it.read_pods, lambda _: None)):
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                found = await listing()
                peaks.append(tracemalloc.get_traced_memory()[1] - before)
                assert len(found.items) == 5000
                del found
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] / 4, peaks


async def test_a_watch_goes_on_from_the_last_bookmark(tmp_path: Path) -> None:
    api, clock, view = Cluster5000(), ManualClock(), ClusterView()

    async def listed(found: Listing, _began: int) -> None:
        view.list_pods([derive(item) for item in found.items])

    async def changed(event: Event) -> None:
        view.see_pod(derive(event.object))

    async with serving(api.answer) as port, client(kubeconfig(tmp_path, port)) as it:
        async with asyncio.TaskGroup() as group:
            source = Source("pods", it.list_pods, it.watch_pods, listed, changed, view.lost)
            task = group.create_task(follow(source, clock))
            await until(lambda: len(api.watched) == 1, 20)
            clock.advance(60)  # as long as a watch lasts
            api.waits.set()
            await until(lambda: len(api.watched) == 2, 20)
            task.cancel()
        api.ends.set()
    assert api.watched == ["7", "900"]
    assert len(view.pods) == 5000


async def test_who_follows_waits_as_long_as_it_is_asked_to(tmp_path: Path) -> None:
    asked, clock, view = 0, ManualClock(), ClusterView()

    async def answer(_request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response(TOO_MANY, status=429, headers={"Retry-After": "40"})

    async def nothing(*_: object) -> None:
        pass

    async with (
        serving(answer) as port,
        client(kubeconfig(tmp_path, port)) as it,
        asyncio.TaskGroup() as group,
    ):
        source = Source("pods", it.list_pods, it.watch_pods, nothing, nothing, view.lost)
        task = group.create_task(follow(source, clock))
        await until(lambda: clock.sleeping > 0, 20)
        clock.advance(39)
        await asyncio.sleep(0)
        assert (asked, clock.sleeping) == (1, 1)
        clock.advance(1)
        await until(lambda: asked == 2, 20)
        task.cancel()


async def test_a_cluster_that_is_away_is_in_the_log_once_and_so_is_its_return() -> None:
    fates = ["gone", "gone", "gone", "off", "off", "", "off", "off"]
    clock = ManualClock()

    async def fetch() -> Listing:
        if said := fates.pop(0):
            raise Unreachable(said, maybe_done=False)
        return Listing([], "1")

    async def watch(_version: str) -> AsyncIterator[Event]:
        raise Unreachable("cut", maybe_done=False)
        yield

    async def nothing(*_: object) -> None:
        pass

    source = Source("pods", fetch, watch, nothing, nothing, lambda _kind: None)
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(follow(source, clock))
            while fates:
                clock.advance(5)
                await asyncio.sleep(0)
            task.cancel()
    told = [(one["event"], one.get("error", "")) for one in logs]
    assert told == [
        ("cluster.lost", "gone"),
        ("cluster.lost", "off"),
        ("cluster.back", ""),
        ("cluster.lost", "cut"),
        ("cluster.lost", "off"),
    ]


async def test_connections_are_bounded_and_a_watch_has_its_own(tmp_path: Path) -> None:
    inside, most, go = 0, 0, asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal inside, most
        if request.query.get("watch"):
            event = {"type": "ADDED", "object": pod("seen", 2)}
            return web.Response(body=json.dumps(event).encode() + b"\n")
        inside, most = inside + 1, max(most, inside + 1)
        await go.wait()
        inside -= 1
        return listing([])

    async def ask(it: Cluster) -> None:
        await it.list_pods()

    async with (
        serving(answer) as port,
        client(kubeconfig(tmp_path, port)) as it,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(60):
            group.create_task(ask(it))
        await until(lambda: inside == 32, 20)
        assert [event.kind async for event in it.watch_pods("1")] == ["ADDED"]
        go.set()
    assert most == 32
