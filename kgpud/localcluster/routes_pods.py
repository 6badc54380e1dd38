"""Requests about what runs in a pod: exec and log."""

import asyncio

from aiohttp import web

from kgpud.localcluster import exec_status
from kgpud.localcluster.cluster import Cluster
from kgpud.localcluster.errors import bad_request
from kgpud.localcluster.exec_session import Asked, Session
from kgpud.localcluster.registry import Document
from kgpud.localcluster.sandbox import Sandbox

_PROTOCOLS = (exec_status.V5, exec_status.V4)
_MAX_MESSAGE = 32 << 20
_CLOSE_SECONDS = 2.0


class Pods:
    """The handlers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def execute(self, request: web.Request) -> web.StreamResponse:
        """Upgrade to a websocket and run a command in a pod."""
        info, query = request.match_info, request.query
        pod = self._cluster.pod(info["namespace"], info["name"])
        _container(pod, query.get("container", ""))
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {info['name']} does not have a host assigned")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise bad_request("Upgrade request required")
        asked = {name: query.get(name) in ("true", "1") for name in ("stdin", "stdout", "stderr")}
        if not any(asked.values()):
            words = "you must specify at least 1 of stdin, stdout, stderr"
            return web.Response(status=400, text=words)
        offered = request.headers.get("Sec-WebSocket-Protocol", "").replace(" ", "").split(",")
        protocol = next((one for one in _PROTOCOLS if one in offered), None)
        if protocol is None:
            return web.Response(status=403, headers={"Connection": "close"})
        sandbox = self._sandbox(pod)
        if sandbox is None:
            container = query.get("container") or pod["spec"]["containers"][0]["name"]
            return web.Response(status=500, text=f'container not found ("{container}")')
        socket = web.WebSocketResponse(
            timeout=_CLOSE_SECONDS,
            protocols=(protocol,),
            max_msg_size=_MAX_MESSAGE + 1,
            compress=False,
        )
        await socket.prepare(request)
        command = query.getall("command", [])
        tty = query.get("tty") in ("true", "1")
        wanted = Asked(command, **asked, tty=tty, protocol=protocol)
        await self._outlive(Session(socket, sandbox, wanted))
        return socket

    async def _outlive(self, session: Session) -> None:
        """Run a session in the cluster's group: it goes on when its client has left."""
        task = self._cluster.group.create_task(session.run())
        await asyncio.shield(task)

    def _sandbox(self, pod: Document) -> Sandbox | None:
        life = self._cluster.life(pod)
        if life is None or life.sandbox is None or life.sandbox.gone.done():
            return None
        return life.sandbox

    async def log(self, request: web.Request) -> web.Response:
        """Answer what PID 1 has written."""
        info = request.match_info
        pod = self._cluster.pod(info["namespace"], info["name"])
        _container(pod, request.query.get("container", ""))
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {info['name']} does not have a host assigned")
        sandbox = self._sandbox(pod)
        return web.Response(body=sandbox.log() if sandbox else b"", content_type="text/plain")


def _container(pod: Document, wanted: str) -> None:
    name = pod["metadata"]["name"]
    names = [container["name"] for container in pod["spec"]["containers"]]
    if wanted and wanted not in names:
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    if not wanted and len(names) > 1:
        choice = f"choose one of: [{' '.join(names)}]"
        raise bad_request(f"a container name must be specified for pod {name}, {choice}")
