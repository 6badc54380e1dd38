"""The cluster's inside: the registry, the nodes, and the pods that live on them."""

import asyncio
import os
import secrets
import time
from collections.abc import Sequence
from functools import partial

from kgpud.localcluster import fleet, node_object, pod_status, scheduler
from kgpud.localcluster.errors import ApiError, already_exists, not_found
from kgpud.localcluster.host import Host
from kgpud.localcluster.pod_life import Addresses, PodLife
from kgpud.localcluster.registry import Document, Registry

_FINISHED = ("Succeeded", "Failed")
# Above every range that Debian, systemd and subuid hand out, below 2³¹.
_FIRST_UID = 0x70000000
_UIDS = 1 << 27
_NAMESPACES = ("default", "kgpu", "kube-system")


def pod_uid() -> int | None:
    """Return an unprivileged host uid for one pod when we are root, else None (our own)."""
    return _FIRST_UID + secrets.randbelow(_UIDS) if os.geteuid() == 0 else None


class Cluster:
    """Creates, schedules and deletes pods; each scheduled one lives in a task of `group`."""

    def __init__(self, host: Host, nodes: Sequence[fleet.Node], group: asyncio.TaskGroup) -> None:
        self.registry: Registry = host.registry
        self.group = group
        self._host = host
        self._nodes = {node.name: node for node in nodes}
        self._lives: dict[str, PodLife] = {}
        self._gpus: dict[str, tuple[str, set[int]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._addresses = 1
        for number, node in enumerate(nodes, 1):
            self.registry.create("nodes", node_object.node_object(node, number))
        for name in _NAMESPACES:
            self.namespace(name)

    def namespace(self, name: str) -> Document:
        """Return a namespace; any name is one."""
        found = self.registry.get("namespaces", "", name)
        if found is not None:
            return found
        labels = {"kubernetes.io/metadata.name": name}
        return self.registry.create(
            "namespaces",
            {
                "kind": "Namespace",
                "apiVersion": "v1",
                "metadata": {"name": name, "labels": labels},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            },
        )

    def life(self, pod: Document) -> PodLife | None:
        """Return the scheduled pod behind a pod object."""
        return self._lives.get(pod["metadata"]["uid"])

    def create_pod(self, pod: Document) -> Document:
        """Store a completed pod and place it soon; ApiError when its name is taken."""
        self.namespace(pod["metadata"]["namespace"])
        try:
            stored = self.registry.create("pods", pod)
        except KeyError:
            raise already_exists("pods", pod["metadata"]["name"]) from None
        self.schedule()
        return stored

    def schedule(self) -> None:
        """Place every pod that waits for a node, oldest first."""
        nodes = self.registry.all("nodes")
        for pod in self.registry.by_age("pods"):
            if pod["spec"].get("nodeName"):
                continue
            metadata = pod["metadata"]
            key = (metadata["namespace"], metadata["name"])
            try:
                node = scheduler.place(pod, nodes, self.registry.all("pods"))
            except scheduler.UnschedulableError as error:
                self._leave_waiting(pod, str(error))
            else:
                bound = self.registry.replace("pods", *key, partial(pod_status.assigned, node=node))
                message = f"Successfully assigned {'/'.join(key)} to {node}"
                self._host.recorder.record(bound, "Normal", "Scheduled", message)
                self._begin(bound, node)

    def _leave_waiting(self, pod: Document, message: str) -> None:
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        before = pod["status"].get("conditions")
        changed = self.registry.replace(
            "pods", *key, lambda pod: pod_status.unschedulable(pod, message)
        )
        if changed["status"]["conditions"] != before:
            self._host.recorder.record(changed, "Warning", "FailedScheduling", message)

    def _begin(self, pod: Document, node: str) -> None:
        uid = pod["metadata"]["uid"]
        count = scheduler.requests(pod["spec"])[scheduler.GPU] // 1000
        indexes = self._take_gpus(uid, node, count)
        gpus = self._nodes[node].share(indexes)
        self._addresses = self._addresses % 65000 + 1
        pod_ip = f"10.67.{self._addresses // 250}.{self._addresses % 250 + 1}"
        stored = self.registry.get("nodes", "", node)
        assert stored is not None
        addresses = Addresses(stored["status"]["addresses"][0]["address"], pod_ip)
        life = PodLife(self._host, pod, addresses, gpus)
        self._lives[uid] = life
        task = self.group.create_task(self._live(life), name=f"pod {life.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take_gpus(self, uid: str, node: str, count: int) -> list[int]:
        used: set[int] = set()
        for where, indexes in self._gpus.values():
            if where == node:
                used |= indexes
        free = sorted(range(self._nodes[node].gpus), key=lambda index: (index in used, index))
        self._gpus[uid] = (node, set(free[:count]))
        return free[:count]

    async def _live(self, life: PodLife) -> None:
        try:
            await life.run()
        finally:
            del self._lives[life.uid], self._gpus[life.uid]
            await self._after(life)

    async def _after(self, life: PodLife) -> None:
        self.collect(life.uid)
        cancelled = asyncio.current_task()
        if cancelled is None or not cancelled.cancelling():
            self.schedule()
        await life.clean()

    def delete_pod(self, pod: Document, grace: int | None) -> Document:
        """Begin a pod's end, or end it at once when there is nothing to wait for."""
        metadata, spec = pod["metadata"], pod["spec"]
        key = (metadata["namespace"], metadata["name"])
        seconds = spec["terminationGracePeriodSeconds"] if grace is None else grace
        life = self.life(pod)
        if life is None or seconds == 0 or pod["status"]["phase"] in _FINISHED:
            return self._delete_now(pod, life)
        before = metadata.get("deletionGracePeriodSeconds")
        if before is not None and seconds >= before:
            return pod
        deleted = self.registry.replace("pods", *key, lambda one: _mark_deleted(one, seconds))
        life.stop(seconds)
        return deleted

    def _delete_now(self, pod: Document, life: PodLife | None) -> Document:
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        marked = self.registry.replace("pods", *key, lambda one: _mark_deleted(one, 0))
        self.registry.delete("pods", *key)
        if life is None:
            self.collect(pod["metadata"]["uid"])
            self.schedule()
        else:
            life.kill()
        return marked

    def collect(self, owner: str) -> None:
        """Delete the secrets that only the pod `owner` (a uid) owned."""
        pods = {one["metadata"]["uid"] for one in self.registry.all("pods")}
        for secret in self.registry.all("secrets"):
            references = secret["metadata"].get("ownerReferences") or []
            owners = {one.get("uid") for one in references}
            if owner in owners and not owners & pods:
                metadata = secret["metadata"]
                self.registry.delete("secrets", metadata["namespace"], metadata["name"])

    def pod(self, namespace: str, name: str) -> Document:
        """Return a pod; ApiError 404 when it isn't there."""
        found = self.registry.get("pods", namespace, name)
        if found is None:
            raise not_found("pods", name)
        return found

    async def close(self) -> None:
        """End every pod at once and wait until nothing of them is left."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _mark_deleted(pod: Document, grace: int) -> None:
    metadata = pod["metadata"]
    moment = time.gmtime(time.time() + grace)
    if "deletionTimestamp" not in metadata:
        metadata["generation"] += 1
    metadata["deletionTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
    metadata["deletionGracePeriodSeconds"] = grace


def require_uid(pod: Document, wanted: str | None) -> None:
    """Raise the 409 ApiError of a delete whose uid precondition is not met."""
    metadata = pod["metadata"]
    if wanted is None or wanted == metadata["uid"]:
        return
    message = (
        f'Operation cannot be fulfilled on Pod "{metadata["name"]}": the UID in the precondition '
        f"({wanted}) does not match the UID in record ({metadata['uid']}). The object might have "
        "been deleted and then recreated"
    )
    raise ApiError(409, "Conflict", message, {"name": metadata["name"], "kind": "Pod"})
