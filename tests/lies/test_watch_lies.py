"""Answers that no API server gives, but a proxy or a cut may: the watch begins anew and goes on."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from kgpud.cluster.client import Cluster, Event, Listing
from kgpud.cluster.errors import ClusterError
from kgpud.cluster.follow import Source, follow
from kgpud.cluster.pods import derive
from kgpud.cluster.view import ClusterView
from tests.gateway.fake_api import eventually
from tests.manual_clock import ManualClock

from .kubeconfig import write_kubeconfig


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def whole(body: bytes, status: str = "200 OK") -> bytes:
    return answer(body, f"Content-Length: {len(body)}", status=status)


def pod(name: str, version: int) -> dict[str, object]:
    metadata = {"name": name, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {}, "status": {"phase": "Running"}}


def event(kind: str, item: object) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def page(*items: object, version: str = "1") -> bytes:
    return json.dumps({"items": list(items), "metadata": {"resourceVersion": version}}).encode()


LIST_LIES = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 20",
    "not HTTP": b"SSH-2.0-x\r\n",
    "no body": whole(b""),
    "a page": whole(b"<html>please log in</html>"),
    "half of it": answer(page(pod("a", 1))[:30], "Content-Length: 5000"),
    "nothing in it": whole(b"{}"),
    "null": whole(b"null"),
    "a list": whole(b"[1, 2]"),
    "a number": whole(b"7"),
    "no version": whole(b'{"items": [], "metadata": {}}'),
    "items that are none": whole(b'{"items": 7, "metadata": {"resourceVersion": "1"}}'),
    "an item that is none": whole(page("pod")),
    "an item without a name": whole(page({"metadata": {}})),
    "not UTF-8": whole(b'{"items": ["\xff"]}'),
    "nested too deeply": whole(b"[" * 100_000),
    "a refusal that is a page": whole(b"<html>", "502 Bad Gateway"),
    "a refusal that is a list": whole(b"[]", "403 Forbidden"),
    "a refusal that is null": whole(b"null", "500 Oops"),
    "a redirect": answer(b"", "Location: /elsewhere", "Content-Length: 0", status="302 Found"),
    "a redirect in circles": answer(b"", "Location: ?", "Content-Length: 0", status="307 Again"),
}
GOOD = event("ADDED", pod("seen", 2))
WATCH_LIES = {
    "nothing": b"",
    "cut in its head": b"HTTP/1.1 200 OK\r\nContent-",
    "cut in a line": answer(GOOD + GOOD[:20]),
    "cut in a chunk": answer(b"ff\r\n" + GOOD, "Transfer-Encoding: chunked"),
    "a page": answer(GOOD + b"<html>\n"),
    "no type": answer(GOOD + b"{}\n"),
    "no object": answer(GOOD + b'{"type": "ADDED"}\n'),
    "null": answer(GOOD + b"null\n"),
    "a list": answer(GOOD + b"[]\n"),
    "an object that is none": answer(GOOD + event("ADDED", 7)),
    "a pod without a name": answer(GOOD + event("ADDED", {"metadata": {"resourceVersion": "3"}})),
    "a pod without metadata": answer(GOOD + event("MODIFIED", {})),
    "a bookmark of nothing": answer(GOOD + event("BOOKMARK", {})),
    "an error of nothing": answer(GOOD + event("ERROR", None)),
    "an error of another kind": answer(GOOD + event("ERROR", {"code": "x"})),
    "a line of 3 MB": answer(GOOD + b'"' + b"x" * 3_000_000 + b'"\n'),
    "not UTF-8": answer(GOOD + b'"\xff"\n'),
    "nested too deeply": answer(GOOD + b"[" * 100_000 + b"\n"),
    "empty lines": answer(GOOD + b"\n\n"),
}


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Liar:
    """Answers the first list and the first watch as told, and the truth from then on."""

    def __init__(self, listing: bytes | None, watch: bytes | None) -> None:
        self._lies = {"list": listing, "watch": watch}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            what = "watch" if b"watch=" in head else "list"
            lie, self._lies[what] = self._lies[what], None
            if lie is not None:
                writer.write(lie)
            elif what == "list":
                writer.write(answer(page(pod("listed", 5), version="5"), "Connection: close"))
            else:
                writer.write(answer(event("ADDED", pod("at last", 6))))
                await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def client_of(serve: Serve, folder: Path) -> AsyncIterator[Cluster]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        kubeconfig = write_kubeconfig(folder, server.sockets[0].getsockname()[1])
        async with Cluster.connect(kubeconfig, "default") as cluster:
            yield cluster
    finally:
        server.close()


@asynccontextmanager
async def following(liar: Liar, folder: Path) -> AsyncIterator[tuple[ClusterView, ManualClock]]:
    view, clock = ClusterView(), ManualClock()

    async def listed(listing: Listing, _began: int) -> None:
        view.list_pods([derive(item) for item in listing.items])

    async def changed(event: Event) -> None:
        view.see_pod(derive(event.object, deleted=event.kind == "DELETED"))

    async with client_of(liar.serve, folder) as cluster, asyncio.TaskGroup() as group:
        source = Source("pods", cluster.list_pods, cluster.watch_pods, listed, changed, view.lost)
        task = group.create_task(follow(source, clock))
        yield view, clock
        task.cancel()


async def recovers(liar: Liar, folder: Path) -> None:
    async with following(liar, folder) as (view, clock):

        def seen() -> bool:
            clock.advance(1)
            return "at last" in view.pods

        await eventually(seen)


@pytest.mark.parametrize("lie", LIST_LIES)
async def test_a_list_that_lies(lie: str, tmp_path: Path) -> None:
    await recovers(Liar(LIST_LIES[lie], None), tmp_path)


@pytest.mark.parametrize("lie", WATCH_LIES)
async def test_a_watch_that_lies(lie: str, tmp_path: Path) -> None:
    await recovers(Liar(None, WATCH_LIES[lie]), tmp_path)


@pytest.mark.parametrize("lie", LIST_LIES)
async def test_a_creation_is_told_that_nobody_knows(lie: str, tmp_path: Path) -> None:
    """A caller can handle a ClusterError, and nothing else."""
    async with client_of(Liar(LIST_LIES[lie], None).serve, tmp_path) as cluster:
        try:
            made = await cluster.create_pod({"kind": "Pod"})
        except ClusterError:
            return
    assert made["metadata"]["name"]


async def test_a_cache_that_gives_the_first_page_for_every_page(tmp_path: Path) -> None:
    first = {"items": [pod("a", 1)], "metadata": {"resourceVersion": "1", "continue": "more"}}
    cached = whole(json.dumps(first).encode())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(cached)
        writer.close()

    async with client_of(serve, tmp_path) as cluster, asyncio.timeout(30):
        with pytest.raises(ClusterError, match="the same page again"):
            await cluster.list_pods()
