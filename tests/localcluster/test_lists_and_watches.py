"""Pages of one moment, watches that lose nothing, and a history with an end."""

import asyncio
import json
import socket
import tracemalloc
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from kgpud.localcluster import pages
from kgpud.localcluster.errors import ApiError
from kgpud.localcluster.pod_events import Recorder
from kgpud.localcluster.registry import Document, Registry

from .clusters import WITHIN, Api, Running, running

SPACE = "/api/v1/namespaces/pages"
SECRETS = f"{SPACE}/secrets"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("fresh")) as started:
        yield started


@pytest.fixture
async def client(fresh: Running) -> Any:
    headers = {"Authorization": f"Bearer {fresh.token}"}
    async with aiohttp.ClientSession(fresh.url, headers=headers) as session:
        api = Api(session)
        await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "pages"}})
        yield api
        assert (await api.call("DELETE", SPACE))[0] == 200
        await api.gone(SPACE)


async def _store(api: Api, *names: str, **metadata: Any) -> None:
    for name in names:
        body = {"metadata": {"name": name, **metadata}}
        status, answer = await api.call("POST", SECRETS, body)
        assert status == 201, answer


def _names(listed: Document) -> list[str]:
    return [one["metadata"]["name"] for one in listed["items"]]


async def test_pages_are_of_one_moment(client: Api) -> None:
    await _store(client, "a", "b", "c", "d")
    _status, first = await client.call("GET", f"{SECRETS}?limit=2")
    assert (_names(first), first["metadata"]["remainingItemCount"]) == (["a", "b"], 2)
    await client.call("DELETE", f"{SECRETS}/c")
    await client.call("PATCH", f"{SECRETS}/d", {"stringData": {"new": "x"}}, headers=MERGE)
    await _store(client, "bb", "e")
    token = first["metadata"]["continue"]
    _status, second = await client.call("GET", SECRETS, params={"limit": "2", "continue": token})
    assert _names(second) == ["c", "d"]
    assert "data" not in second["items"][1]
    assert "continue" not in second["metadata"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    _status, now = await client.call("GET", SECRETS)
    assert _names(now) == ["a", "b", "bb", "d", "e"]


async def test_pages_go_over_all_namespaces(client: Api) -> None:
    await _store(client, "a", "z")
    await client.call("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "m"}})
    seen, token = [], ""
    while True:
        query = {"limit": "1", "continue": token, "fieldSelector": "type=Opaque"}
        _status, page = await client.call("GET", "/api/v1/secrets", params=query)
        seen += [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in page["items"]]
        assert "remainingItemCount" not in page["metadata"]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert seen == [("default", "m"), ("pages", "a"), ("pages", "z")]
    await client.call("DELETE", "/api/v1/namespaces/default/secrets/m")


async def test_a_page_of_a_forgotten_moment_is_expired_and_says_how_to_go_on(client: Api) -> None:
    await _store(client, "a", "b")
    _status, first = await client.call("GET", f"{SECRETS}?limit=1")
    for number in range(1100):
        patch = {"metadata": {"annotations": {"number": str(number)}}}
        await client.call("PATCH", f"{SECRETS}/a", patch, headers=MERGE)
    await _store(client, "c")
    query = {"continue": first["metadata"]["continue"]}
    status, answer = await client.call("GET", SECRETS, params=query)
    assert (status, answer["reason"]) == (410, "Expired")
    again = {"continue": answer["metadata"]["continue"]}
    status, page = await client.call("GET", SECRETS, params=again)
    assert (status, _names(page)) == (200, ["b", "c"])
    old = first["metadata"]["resourceVersion"]
    async with client.session.get(
        SECRETS, params={"watch": "1", "resourceVersion": old}
    ) as response:
        event = json.loads(await response.content.readline())
        assert await response.content.read() == b""
    assert (event["type"], event["object"]["reason"]) == ("ERROR", "Expired")


@pytest.mark.parametrize("token", ["e30", "eyJ2IjoieCJ9", "!", "AA", "bnVsbA", "x" * 2000])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(ApiError, match="invalid continue token"):
        pages.read_token(token, "default")


async def test_the_moment_of_a_page_can_be_rebuilt_as_long_as_it_is_remembered() -> None:
    registry = Registry()
    wanted: dict[int, list[Document]] = {}
    for number in range(1200):
        name = f"x{number % 7}"
        if registry.get("secrets", "n", name) is None:
            registry.create("secrets", {"metadata": {"name": name, "namespace": "n"}})
        elif number % 3:
            registry.replace("secrets", "n", name, lambda one: one.update(number=registry.version))
        else:
            registry.delete("secrets", "n", name)
        wanted[registry.version] = registry.all("secrets", "n")
    oldest = registry.oldest("secrets")
    assert registry.version - oldest == 1024
    for version, documents in wanted.items():
        if version >= oldest:
            assert registry.all_at("secrets", "n", version) == documents
        else:
            with pytest.raises(KeyError):
                registry.all_at("secrets", "n", version)


async def test_a_busy_kind_makes_nobody_elses_watch_expire(client: Api) -> None:
    await _store(client, "quiet")
    _status, listed = await client.call("GET", f"{SPACE}/configmaps")
    version = listed["metadata"]["resourceVersion"]
    for number in range(1100):
        patch = {"metadata": {"annotations": {"number": str(number)}}}
        await client.call("PATCH", f"{SECRETS}/quiet", patch, headers=MERGE)
    query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "1"}
    async with client.session.get(f"{SPACE}/configmaps", params=query) as response:
        assert await response.text() == ""


async def test_a_watch_sees_what_enters_and_leaves_its_selector(client: Api) -> None:
    seen = []
    query = {"watch": "1", "labelSelector": "in=yes", "allowWatchBookmarks": "true"}
    await _store(client, "a")
    async with asyncio.timeout(WITHIN), client.session.get(SECRETS, params=query) as response:
        for labels in ({"in": "yes"}, {"in": "yes", "x": "y"}, {"in": "no"}, {"in": "yes"}):
            patch = {"metadata": {"labels": labels}}
            await client.call("PATCH", f"{SECRETS}/a", patch, headers=MERGE)
            event = json.loads(await response.content.readline())
            seen.append((event["type"], event["object"]["metadata"]["labels"]["in"]))
        await client.call("DELETE", f"{SECRETS}/a")
        seen.append((json.loads(await response.content.readline())["type"], ""))
    assert seen == [
        ("ADDED", "yes"), ("MODIFIED", "yes"), ("DELETED", "no"), ("ADDED", "yes"), ("DELETED", "")
    ]  # fmt: skip


async def test_a_watch_that_is_not_read_holds_up_nobody(client: Api, fresh: Running) -> None:
    """It is forgotten by the history, not the other way round."""
    address = urlsplit(fresh.url)
    assert address.hostname is not None
    assert address.port is not None
    stalled = socket.create_connection((address.hostname, address.port), timeout=WITHIN)
    with stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"GET {SECRETS}?watch=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {fresh.token}"
        stalled.sendall(f"{head}\r\n\r\n".encode())
        await _store(client, "big", annotations={"filler": "x" * 200_000})
        query = {"watch": "1", "fieldSelector": "metadata.name=big"}
        async with (
            asyncio.timeout(WITHIN),
            client.session.get(SECRETS, params=query, read_bufsize=1 << 20) as response,
        ):
            for number in range(60):
                patch = {"metadata": {"annotations": {"number": str(number)}}}
                await client.call("PATCH", f"{SECRETS}/big", patch, headers=MERGE)
            last = ""
            while last != "59":
                event = json.loads(await response.content.readline())
                last = event["object"]["metadata"]["annotations"].get("number", "")


async def test_a_finalizer_holds_an_object_back(client: Api) -> None:
    await _store(client, "held", finalizers=["example.com/held"])
    assert (await client.call("DELETE", f"{SECRETS}/held"))[0] == 200
    _status, held = await client.call("GET", f"{SECRETS}/held")
    assert "deletionTimestamp" in held["metadata"]
    patch = {"metadata": {"finalizers": None}}
    assert (await client.call("PATCH", f"{SECRETS}/held", patch, headers=MERGE))[0] == 200
    assert (await client.call("GET", f"{SECRETS}/held"))[0] == 404


async def test_a_collection_is_deleted_by_its_selector(client: Api) -> None:
    await _store(client, "a", "b", labels={"go": "yes"})
    await _store(client, "c")
    dry = await client.call("DELETE", SECRETS, params={"labelSelector": "go", "dryRun": "All"})
    assert _names(dry[1]) == ["a", "b"]
    assert (await client.call("DELETE", SECRETS, params={"labelSelector": "go"}))[0] == 200
    assert _names((await client.call("GET", SECRETS))[1]) == ["c"]


async def test_generated_names_differ_and_metadata_can_be_had_alone(client: Api) -> None:
    made = {
        (await client.call("POST", SECRETS, {"metadata": {"generateName": "g-"}}))[1]["metadata"][
            "name"
        ]
        for _ in range(5)
    }
    assert len(made) == 5
    assert all(name.startswith("g-") and len(name) == 7 for name in made)
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    _status, listed = await client.call("GET", SECRETS, headers={"Accept": accept})
    assert listed["kind"] == "PartialObjectMetadataList"
    assert {tuple(sorted(one)) for one in listed["items"]} == {("apiVersion", "kind", "metadata")}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("?limit=x", 400),
        ("?timeoutSeconds=x&watch=1", 400),
        ("?fieldSelector=spec.nope=1", 400),
        ("?fieldSelector=x", 400),
        ("?labelSelector=a in b", 400),
        ("?labelSelector=a=b=c", 400),
        ("?labelSelector=%20", 200),
        ("?fieldSelector=metadata.namespace!=pages", 200),
    ],
)
async def test_a_list_that_cannot_be_is_refused(client: Api, path: str, status: int) -> None:
    assert (await client.call("GET", f"{SECRETS}{path}"))[0] == status


async def test_what_comes_and_goes_leaves_no_more_than_the_history() -> None:
    registry = Registry()

    def come_and_go(times: int) -> int:
        for number in range(times):
            metadata = {"name": f"x{number}", "namespace": "n"}
            registry.create("pods", {"metadata": metadata, "spec": {"x": "y" * 1000}})
            registry.replace("pods", "n", f"x{number}", lambda pod: pod["spec"].update(a=1))
            registry.delete("pods", "n", f"x{number}")
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = come_and_go(1000)
        assert come_and_go(3000) < before * 1.1
    finally:
        tracemalloc.stop()
    assert registry.all("pods") == []


def test_events_go_after_an_hour_without_news_and_when_there_are_too_many() -> None:
    registry, moment = Registry(), 0.0
    recorder = Recorder(registry, lambda: moment)

    def record(number: int) -> None:
        metadata = {"name": f"p{number}", "namespace": "n", "uid": str(number)}
        pod = {"metadata": {**metadata, "resourceVersion": "1"}, "spec": {"nodeName": "node"}}
        recorder.record(pod, "Normal", "Started", "Container started")

    record(0)
    record(1)
    moment = 3000.0
    record(0)
    moment = 3700.0
    recorder.expire()
    [kept] = registry.all("events")
    assert (kept["involvedObject"]["name"], kept["count"]) == ("p0", 2)
    for number in range(2, 1502):
        record(number)
    assert len(registry.all("events")) == 1000
    moment = 10_000.0
    recorder.expire()
    assert registry.all("events") == []
