"""Recorded answers of a real API server, given to the client: what it makes of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kgpud.cluster.client import Cluster, Event, Listing
from kgpud.cluster.errors import ClusterError, Expired, Refused, Unreachable
from kgpud.cluster.follow import Source, follow
from kgpud.cluster.nodes import NodeState, derive_node
from kgpud.cluster.pods import derive
from kgpud.cluster.view import ClusterView
from tests.manual_clock import ManualClock
from tests.platform.world import until
from tests.recorded import files

from .kubeconfig import write_kubeconfig

Object = dict[str, Any]
Call = Callable[[Cluster], Awaitable[object]]


class Answers:
    """A server that gives recorded answers, one after the other, the last one from then on."""

    def __init__(self, *names: str) -> None:
        self._names = list(names)
        self.asked: list[tuple[str, str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path, request.query_string))
        if not self._names:
            await asyncio.Event().wait()
        name = self._names.pop(0)
        if not self._names and "watch" not in name:
            self._names.append(name)
        response = files.exchange(f"api/{name}")["response"]
        if "watch" in response:
            lines = [json.dumps(event).encode() + b"\n" for event in response["watch"]]
            return web.Response(body=b"".join(lines), content_type="application/json")
        return web.json_response(response["body"], status=response["status"])


@asynccontextmanager
async def client_of(answers: Answers, folder: Path) -> AsyncIterator[Cluster]:
    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", answers.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        kubeconfig = write_kubeconfig(folder, runner.addresses[0][1])
        async with Cluster.connect(kubeconfig, "default") as cluster:
            yield cluster
    finally:
        await runner.cleanup()


def body(name: str) -> Object:
    found: Object = files.exchange(f"api/{name}")["response"]["body"]
    return found


def create(cluster: Cluster) -> Awaitable[Object]:
    return cluster.create_pod({"kind": "Pod"})


def patch(cluster: Cluster) -> Awaitable[Object]:
    return cluster.patch_pod("a1", {"metadata": {}})


def delete(cluster: Cluster) -> Awaitable[bool]:
    return cluster.delete_pod("a1", 5)


def pods(cluster: Cluster) -> Awaitable[Listing]:
    return cluster.list_pods()


async def watched(cluster: Cluster) -> list[Event]:
    return [event async for event in cluster.watch_pods("1382")]


def events(name: str) -> list[Event]:
    said = files.exchange(f"api/{name}")["response"]["watch"]
    return [Event(event["type"], event["object"]) for event in said]


def listing(name: str) -> Listing:
    return Listing(body(name)["items"], body(name)["metadata"]["resourceVersion"])


# What comes back from a call.
RETURNED: dict[str, tuple[Call, object]] = {
    "pod_create": (create, body("pod_create")),
    "patch_merge": (patch, body("patch_merge")),
    "pod_delete": (delete, True),
    "pod_delete_again_terminating": (delete, True),
    "pod_delete_missing": (delete, False),
    "pods_in_missing_namespace": (pods, Listing([], "1368")),
    "pods_list_selector": (pods, listing("pods_list_selector")),
    "pods_list_field_selector": (pods, listing("pods_list_field_selector")),
    "watch_from_list": (watched, events("watch_from_list")),
    "watch_future_rv": (watched, events("watch_future_rv")),
    "watch_no_rv": (watched, events("watch_no_rv")),
    "watch_initial_events": (watched, events("watch_initial_events")),
}

# What is raised: its type, HTTP's status, the API server's own word for the reason.
RAISED: dict[str, tuple[Call, type[ClusterError], int, str]] = {
    "pod_create_again": (create, Refused, 409, "AlreadyExists"),
    "pod_create_bad_name": (create, Refused, 422, "Invalid"),
    "pod_create_no_containers": (create, Refused, 422, "Invalid"),
    "pod_create_bad_json": (create, Refused, 400, "BadRequest"),
    "pod_create_bad_quantity": (create, Refused, 400, "BadRequest"),
    "pod_create_unknown_field_strict": (create, Refused, 400, "BadRequest"),
    "pod_create_wrong_kind": (create, Refused, 400, "BadRequest"),
    "pod_create_in_missing_namespace": (create, Refused, 404, "NotFound"),
    "method_not_allowed": (create, Refused, 405, "MethodNotAllowed"),
    "patch_conflict": (patch, Refused, 409, "Conflict"),
    "patch_spec_forbidden": (patch, Refused, 422, "Invalid"),
    "patch_bad_type": (patch, Refused, 415, "UnsupportedMediaType"),
    "pod_delete_wrong_uid": (delete, Refused, 409, "Conflict"),
    "anonymous": (pods, Refused, 403, "Forbidden"),
    "bad_token": (pods, Refused, 401, "Unauthorized"),
    "not_acceptable": (pods, Refused, 406, "NotAcceptable"),
    "pods_list_bad_continue": (pods, Refused, 400, "BadRequest"),
    "pods_list_bad_selector": (pods, Refused, 400, "BadRequest"),
    "unknown_path": (pods, Refused, 404, "NotFound"),
    "watch_bad_rv": (watched, Unreachable, 500, "Unreachable"),
    "watch_old_rv": (watched, Expired, 410, "Expired"),
}

_TOGETHER = ["nodes", "pods_list_limit_1", "pods_list_continue"]
CASES = [f"api/{name}" for name in (*RETURNED, *RAISED, *_TOGETHER)]
LEFT_OUT = {
    name: "a request that the client never makes"
    for name in files.names()
    if name.startswith("api/") and name not in CASES
}


@pytest.mark.parametrize("name", RETURNED)
async def test_an_answer_is_taken(name: str, tmp_path: Path) -> None:
    call, should = RETURNED[name]
    async with client_of(Answers(name), tmp_path) as cluster, asyncio.timeout(30):
        assert await call(cluster) == should


@pytest.mark.parametrize("name", RAISED)
async def test_a_refusal_is_raised(name: str, tmp_path: Path) -> None:
    call, kind, status, reason = RAISED[name]
    async with client_of(Answers(name), tmp_path) as cluster, asyncio.timeout(30):
        with pytest.raises(kind) as caught:
            await call(cluster)
    error = caught.value
    assert (type(error), error.status, error.reason) == (kind, status, reason)
    assert str(error).startswith(f"API server: {status} ")


async def test_a_list_goes_on_where_the_last_page_ended(tmp_path: Path) -> None:
    answers = Answers("pods_list_limit_1", "pods_list_continue", "pods_in_missing_namespace")
    async with client_of(answers, tmp_path) as cluster:
        found = await cluster.list_pods()
    first, second = body("pods_list_limit_1"), body("pods_list_continue")
    assert found == Listing([*first["items"], *second["items"]], "1368")
    asked = [query for _, _, query in answers.asked]
    assert [query.partition("&continue=")[2] for query in asked] == [
        "",
        first["metadata"]["continue"],
        second["metadata"]["continue"],
    ]


async def test_nodes_are_read(tmp_path: Path) -> None:
    async with client_of(Answers("nodes"), tmp_path) as cluster:
        [node] = (await cluster.list_nodes()).items
    name = "rk8s-node"
    assert derive_node(node) == NodeState(name, name, None, 4, ready=True, cordoned=False)


async def test_a_watch_that_is_too_old_begins_again_with_a_list(tmp_path: Path) -> None:
    answers = Answers(
        "pods_in_missing_namespace",
        "watch_old_rv",
        "pods_list_selector",
        "watch_initial_events",
    )
    view, clock = ClusterView(), ManualClock()

    async def listed(listing: Listing, _began: int) -> None:
        view.list_pods(derive(item) for item in listing.items)

    async def changed(event: Event) -> None:
        view.see_pod(derive(event.object, deleted=event.kind == "DELETED"))

    async with client_of(answers, tmp_path) as cluster, asyncio.TaskGroup() as group:
        source = Source("pods", cluster.list_pods, cluster.watch_pods, listed, changed, view.lost)
        following = group.create_task(follow(source, clock))
        await until(lambda: clock.sleeping > 0 or "a1" in view.pods, 30)
        clock.advance(1)
        await until(lambda: len(answers.asked) >= 4, 30)
        following.cancel()
    assert "a1" in view.pods
