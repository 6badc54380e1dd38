"""Requests about what runs in a pod, and what they ask about it; exec is `routes_exec`'s."""

from aiohttp import web

from kgpud.localcluster.cluster import Cluster
from kgpud.localcluster.errors import bad_request
from kgpud.localcluster.registry import Document
from kgpud.localcluster.sandbox import Sandbox


class Pods:
    """The handlers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def log(self, request: web.Request) -> web.Response:
        """Answer what PID 1 has written."""
        info = request.match_info
        pod = self._cluster.pod(info["namespace"], info["name"])
        name = container_name(pod, request.query.get("container", ""))
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {info['name']} does not have a host assigned")
        sandbox = sandbox_of(self._cluster, pod, name)
        return web.Response(body=sandbox.log() if sandbox else b"", content_type="text/plain")


def sandbox_of(cluster: Cluster, pod: Document, container: str) -> Sandbox | None:
    """Return what one of a pod's containers runs in; None while it doesn't run."""
    life = cluster.life(pod)
    return None if life is None else life.sandbox(container)


def container_name(pod: Document, wanted: str) -> str:
    """Return the container that is meant; ApiError 400 when there is none or it is not clear."""
    name = pod["metadata"]["name"]
    names: list[str] = [container["name"] for container in pod["spec"]["containers"]]
    if wanted and wanted not in names:
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    if not wanted and len(names) > 1:
        choice = f"choose one of: [{' '.join(names)}]"
        raise bad_request(f"a container name must be specified for pod {name}, {choice}")
    return wanted or names[0]
