"""The exec request: who is refused, what is upgraded, and what runs then."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from aiohttp import web

from kgpud.localcluster import access, exec_frames, exec_protocol
from kgpud.localcluster.cluster import Cluster
from kgpud.localcluster.errors import bad_request
from kgpud.localcluster.exec_link import Link
from kgpud.localcluster.exec_protocol import Protocol
from kgpud.localcluster.exec_session import Session
from kgpud.localcluster.exec_stream import Asked, Stream
from kgpud.localcluster.routes_pods import container_name, sandbox_of

_IDLE_SECONDS = 4 * 3600.0
_READ_BYTES = 1024 * 1024
_VERSION = "13"
_NO_STREAMS = "you must specify at least 1 of stdin, stdout, stderr"


class Translator(Enum):
    """Who turns a v5 stream into what the container runtime speaks."""

    KUBELET = "kubelet"  # the default of 1.36
    APISERVER = "apiserver"  # 1.30 to 1.35: it answers 101 before it asks the kubelet


@dataclass(frozen=True)
class ExecOptions:
    """How execs behave.

    `idle_seconds` is the container runtime's: streams in its own protocols (all but v5) are cut
    after so long without a message either way.
    """

    translator: Translator = Translator.KUBELET
    idle_seconds: float = _IDLE_SECONDS


class Execs:
    """The handler."""

    def __init__(self, cluster: Cluster, options: ExecOptions) -> None:
        self._cluster = cluster
        self._options = options
        self._links: set[Link] = set()
        self._memory = memoryview(bytearray(_READ_BYTES))

    async def execute(self, request: web.Request) -> web.StreamResponse:
        """Upgrade to a websocket and run a command in a pod."""
        name, query = request.match_info["name"], request.query
        access.require_create(self._cluster.registry, request)
        pod = self._cluster.pod(request.match_info["namespace"], name)
        container = container_name(pod, query.get("container", ""))
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {name} does not have a host assigned")
        if refused := _not_upgradable(request):
            return refused
        protocol = exec_protocol.choose(_offered(request))
        if protocol is None:
            return web.Response(status=HTTPStatus.FORBIDDEN, headers={"Connection": "close"})
        asked = _asked(request, protocol)
        sandbox = sandbox_of(self._cluster, pod, container)
        words = None
        if not (asked.stdin or asked.stdout or asked.stderr):
            status, words = HTTPStatus.BAD_REQUEST, _NO_STREAMS
        elif sandbox is None:
            status, words = HTTPStatus.INTERNAL_SERVER_ERROR, f'container not found ("{container}")'
        answered = protocol.translated and self._options.translator is Translator.APISERVER
        if words is not None and not answered:
            return web.Response(status=status, text=words)
        link = self._upgrade(request, protocol)
        stream = Stream(link, asked)
        if words is not None:
            return await self._outlive(link, stream.refuse(words))
        assert sandbox is not None
        return await self._outlive(link, Session(stream, sandbox, asked).run())

    async def close(self, _application: web.Application) -> None:
        """Cut every connection that is left: one that isn't read could hold its session."""
        for link in self._links:
            link.abort()

    def _upgrade(self, request: web.Request, protocol: Protocol) -> Link:
        """Take the connection over from the HTTP server, and answer 101."""
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        accept = exec_frames.accept_for(request.headers["Sec-WebSocket-Key"])
        lines.append(f"Sec-WebSocket-Accept: {accept}")
        lines.append(f"Sec-WebSocket-Protocol: {protocol.name}")
        idle_seconds = None if protocol.translated else self._options.idle_seconds
        if request.transport is None:
            raise ConnectionResetError
        link = Link(request.transport, request.protocol, self._memory, idle_seconds)
        request.transport.write("\r\n".join((*lines, "", "")).encode())
        return link

    async def _outlive(self, link: Link, session: Coroutine[None, None, None]) -> web.Response:
        """Run a session in the cluster's group: it goes on when its client has left.

        The connection is gone when it ends, so the response is never sent.
        """
        task = self._cluster.group.create_task(session)
        self._links.add(link)
        task.add_done_callback(lambda _task: self._links.discard(link))
        await asyncio.shield(task)
        return web.Response()


def _offered(request: web.Request) -> list[str]:
    values = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    return [name.strip() for name in values.split(",") if name.strip()]


def _asked(request: web.Request, protocol: Protocol) -> Asked:
    query = request.query
    given = {
        name: query.get(name) in ("true", "1") for name in ("stdin", "stdout", "stderr", "tty")
    }
    given["stderr"] &= not given["tty"]  # a terminal has one output
    return Asked(query.getall("command", []), **given, protocol=protocol)


def _not_upgradable(request: web.Request) -> web.Response | None:
    """Return the refusal of what asks for no websocket; raises ApiError where that is one."""
    upgrade = request.headers.get("Upgrade", "").lower()
    if upgrade.startswith("spdy/"):
        return _no_spdy(request)
    if upgrade != "websocket":
        raise bad_request("Upgrade request required")
    headers = request.headers
    if headers.get("Sec-WebSocket-Version") != _VERSION or "Sec-WebSocket-Key" not in headers:
        return web.Response(status=400, headers={"Sec-WebSocket-Version": _VERSION})
    return None


def _no_spdy(request: web.Request) -> web.Response:
    """Refuse SPDY/3.1, which clients before 1.31 speak: it is not spoken here."""
    if "X-Stream-Protocol-Version" in request.headers:
        said = "unable to upgrade: unable to negotiate protocol: this cluster speaks websockets"
        return web.Response(status=HTTPStatus.FORBIDDEN, text=said + "\n")
    said = (
        "unable to upgrade: header X-Stream-Protocol-Version does not exist in request "
        f"with {len(request.headers)} headers\n"
    )
    nosniff = {"X-Content-Type-Options": "nosniff"}
    return web.Response(status=HTTPStatus.BAD_REQUEST, text=said * 2, headers=nosniff)
