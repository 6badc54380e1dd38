"""Requests about what runs in a pod, and what they ask about it; exec is `routes_exec`'s."""

import contextlib

from aiohttp import web

from kgpud.localcluster import log_query
from kgpud.localcluster.cluster import Cluster
from kgpud.localcluster.container_log import ContainerLog
from kgpud.localcluster.errors import ApiError, bad_request
from kgpud.localcluster.registry import Document
from kgpud.localcluster.sandbox import Sandbox


class Pods:
    """The handlers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def log(self, request: web.Request) -> web.StreamResponse:
        """Answer what a container has written, and with `follow` what it goes on to write."""
        info = request.match_info
        pod = self._cluster.pod(info["namespace"], info["name"])
        name = container_name(pod, request.query.get("container", ""))
        wanted = log_query.read(request.query)
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {info['name']} does not have a host assigned")
        life = self._cluster.life(pod)
        log = None if life is None else life.log(name, previous=wanted.previous)
        if log is None:
            raise _no_log(pod, name, previous=wanted.previous)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError):
            await _write(response, log, wanted)
            await response.write_eof()
        return response


async def _write(
    response: web.StreamResponse, log: ContainerLog, wanted: log_query.LogQuery
) -> None:
    written = log_query.Written(wanted)
    if not wanted.follow:
        await response.write(written.take(log.lines(wanted.tail)))
        return
    async with contextlib.aclosing(log.follow(wanted.tail)) as parts:
        async for lines in parts:
            await response.write(written.take(lines))
            if written.is_full:
                return


def _no_log(pod: Document, container: str, *, previous: bool) -> ApiError:
    """Return the 400 of a container that has not run, in the kubelet's words."""
    name = pod["metadata"]["name"]
    if previous:
        what = f'previous terminated container "{container}" in pod "{name}"'
        return bad_request(f"{what} not found")
    statuses = pod["status"].get("containerStatuses") or []
    state: Document = next((one["state"] for one in statuses if one["name"] == container), {})
    reason = state.get("waiting", {}).get("reason", "ContainerCreating")
    if reason in ("ErrImagePull", "ImagePullBackOff"):
        reason = "trying and failing to pull image"
        return bad_request(f'container "{container}" in pod "{name}" is {reason}')
    where = f'container "{container}" in pod "{name}"'
    return bad_request(f"{where} is waiting to start: {reason}")


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
