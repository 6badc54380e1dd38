"""The cluster's inside: the registry, the nodes, and the pods that live on them."""

import asyncio
import copy
import logging
import os
import secrets
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from ipaddress import IPv4Address

from kgpud.localcluster import node_object, owners, pod_status, scheduler
from kgpud.localcluster.errors import not_found
from kgpud.localcluster.fleet import Node
from kgpud.localcluster.host import Host
from kgpud.localcluster.pod_life import Addresses, PodLife
from kgpud.localcluster.registry import Document, Registry

log = logging.getLogger(__name__)
_FINISHED = ("Succeeded", "Failed")
# Above every range that Debian, systemd and subuid hand out, below 2³¹.
_FIRST_UID = 0x70000000
_UIDS = 1 << 27
_LONGEST_GRACE = 1 << 31  # seconds that a date can still be told of
_FIRST_POD_IP, _POD_IPS = IPv4Address("10.67.0.2"), 65_000


def pod_uid() -> int | None:
    """Return an unprivileged host uid for one pod when we are root, else None (our own)."""
    return _FIRST_UID + secrets.randbelow(_UIDS) if os.geteuid() == 0 else None


def pod_address(number: int) -> str:
    """Return the address of the pod that is placed after `number` others."""
    return str(_FIRST_POD_IP + number % _POD_IPS)


class Cluster:
    """Creates, schedules and deletes pods; each scheduled one lives in a task of `group`."""

    def __init__(self, host: Host, nodes: Sequence[Node], group: asyncio.TaskGroup) -> None:
        self.registry: Registry = host.registry
        self.group = group
        self._host = host
        self._nodes = {node.name: node for node in nodes}
        self._lives: dict[str, PodLife] = {}
        self._gpus: dict[str, tuple[str, list[int]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pods = 0
        for number, node in enumerate(nodes, 1):
            self.registry.create("nodes", node_object.node_object(node, number))

    def life(self, pod: Document) -> PodLife | None:
        """Return the scheduled pod behind a pod object."""
        return self._lives.get(pod["metadata"]["uid"])

    def create_pod(self, pod: Document) -> Document:
        """Store a completed pod and place it soon; KeyError when its name is taken."""
        stored = self.registry.create("pods", pod)
        self.schedule()
        return stored

    def schedule(self) -> None:
        """Place every pod that waits for a node, oldest first."""
        pods = self.registry.by_age("pods")
        waiting = [one for one in pods if not one["spec"].get("nodeName")]
        if not waiting:
            return
        # Those without an object hold their GPUs until their last process has ended.
        ending = [life.pod for life in self._lives.values() if life.is_forgotten]
        rooms = scheduler.rooms(self.registry.all("nodes"), [*pods, *ending])
        for pod in waiting:
            metadata = pod["metadata"]
            key = (metadata["namespace"], metadata["name"])
            try:
                node = scheduler.place(pod, rooms)
            except scheduler.UnschedulableError as error:
                self._leave_waiting(pod, str(error))
            else:
                bound = self.registry.replace("pods", *key, partial(pod_status.assigned, node=node))
                message = f"Successfully assigned {'/'.join(key)} to {node}"
                self._host.recorder.record(bound, "Normal", "Scheduled", message)
                self._begin(bound, node)

    def _leave_waiting(self, pod: Document, message: str) -> None:
        if any(one.get("message") == message for one in pod["status"].get("conditions") or []):
            return
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        changed = self.registry.replace(
            "pods", *key, lambda pod: pod_status.unschedulable(pod, message)
        )
        self._host.recorder.record(changed, "Warning", "FailedScheduling", message)

    def _begin(self, pod: Document, node: str) -> None:
        uid = pod["metadata"]["uid"]
        count = scheduler.requests(pod["spec"])[scheduler.GPU] // 1000
        indexes = self._take_gpus(uid, node, count)
        gpus = self._nodes[node].share(indexes)
        pod_ip = pod_address(self._pods)
        self._pods += 1
        stored = self.registry.get("nodes", "", node)
        assert stored is not None
        addresses = Addresses(stored["status"]["addresses"][0]["address"], pod_ip)
        life = PodLife(self._host, pod, addresses, gpus, partial(self._finished, uid))
        self._lives[uid] = life
        self.run(self._live(life), f"pod {life.name}")

    def run(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run something in the background, until it ends or the cluster does."""
        task = self.group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take_gpus(self, uid: str, node: str, count: int) -> list[int]:
        used = {one for where, taken in self._gpus.values() if where == node for one in taken}
        taken = [one for one in range(self._nodes[node].gpus) if one not in used][:count]
        self._gpus[uid] = (node, taken)
        return taken

    def _finished(self, uid: str) -> None:
        """Give the room of a pod whose containers have ended for good to those that wait."""
        del self._gpus[uid]
        self.schedule()

    async def _live(self, life: PodLife) -> None:
        try:
            await life.run()
        finally:
            del self._lives[life.uid]
            self._gpus.pop(life.uid, None)
            await self._after(life)

    async def _after(self, life: PodLife) -> None:
        owners.collect(self.registry, life.uid)
        cancelled = asyncio.current_task()
        if cancelled is None or not cancelled.cancelling():
            self.schedule()
        try:
            await life.clean()
        except OSError as error:  # a pod that can't be removed must not end the others
            log.warning("%s: its folder stays until the next start: %s", life.name, error)

    def delete_pod(self, pod: Document, grace: int | None, *, dry_run: bool = False) -> Document:
        """Begin a pod's end, or end it at once when there is nothing to wait for.

        Returns the pod as it is then. A dry run changes nothing.
        """
        metadata, spec = pod["metadata"], pod["spec"]
        key = (metadata["namespace"], metadata["name"])
        seconds = spec["terminationGracePeriodSeconds"] if grace is None else grace
        life = self.life(pod)
        at_once = life is None or seconds == 0 or pod["status"]["phase"] in _FINISHED
        before = metadata.get("deletionGracePeriodSeconds")
        if before is not None and seconds >= before and not at_once:
            return pod
        if dry_run:
            pod = copy.deepcopy(pod)
            mark_deleted(pod, 0 if at_once else seconds)
            return pod
        if life is None or at_once:
            return self._delete_now(pod, life)
        deleted = self.registry.replace("pods", *key, lambda one: mark_deleted(one, seconds))
        life.stop(seconds)
        return deleted

    def _delete_now(self, pod: Document, life: PodLife | None) -> Document:
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        marked = self.registry.replace("pods", *key, lambda one: mark_deleted(one, 0))
        self.registry.delete("pods", *key)
        if life is None:
            owners.collect(self.registry, pod["metadata"]["uid"])
            self.schedule()
        else:
            life.kill()
        return marked

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


def mark_deleted(document: Document, grace: int) -> None:
    """Write into an object that it is to be gone in `grace` seconds."""
    metadata = document["metadata"]
    moment = time.gmtime(time.time() + min(grace, _LONGEST_GRACE))
    if "deletionTimestamp" not in metadata and "generation" in metadata:
        metadata["generation"] += 1
    metadata["deletionTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
    metadata["deletionGracePeriodSeconds"] = grace
