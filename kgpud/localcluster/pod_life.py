"""One pod from its node to its end: what a kubelet does for it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from kgpud.localcluster import eviction, folders, pod_status, rootfs, scheduler, volumes
from kgpud.localcluster.container_life import ContainerLife, Place
from kgpud.localcluster.container_log import ContainerLog
from kgpud.localcluster.gpus import Share
from kgpud.localcluster.host import Host
from kgpud.localcluster.pod_record import PodRecord
from kgpud.localcluster.pod_status import End
from kgpud.localcluster.registry import Document
from kgpud.localcluster.sandbox import Sandbox

_TOO_LONG = "Pod was active on the node longer than the specified deadline"
_FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Addresses:
    """Of a pod, and of the node it is on."""

    node: str
    pod: str


class PodLife:
    """A scheduled pod. `run` lives it; `stop` and `kill` end it.

    Each container has a network of its own, unlike in Kubernetes, where a pod's share one.
    """

    def __init__(
        self,
        host: Host,
        pod: Document,
        addresses: Addresses,
        gpus: Share,
        finished: Callable[[], None],
    ) -> None:
        """Prepare it; `finished` is called when its containers have ended for good."""
        self._host = host
        self._finished = finished
        self._record = PodRecord(host.registry, host.recorder, pod)
        self._spec: Document = pod["spec"]
        self._host_ip = addresses.node
        self._folder = rootfs.PodFolder(host.folder / f"pod-{self.uid}", host.uid())
        self._containers = []
        for container in self._spec["containers"]:
            own, gpus = gpus.split(scheduler.gpus(container))
            place = Place(self._folder, addresses.pod, self._spec, own)
            self._containers.append(ContainerLife(host, self._record, container, place))
        self._ending = asyncio.Event()
        self._deadline: float | None = None
        self.is_forgotten = False

    @property
    def name(self) -> str:
        """The pod's name."""
        return self._record.name

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return self._record.uid

    @property
    def pod(self) -> Document:
        """The pod's object, or its last version where `is_forgotten` says that it is gone."""
        return self._record.current() or self._record.last

    def sandbox(self, container: str) -> Sandbox | None:
        """Return what runs of a container; None when it does not run."""
        found = self._container(container)
        if found is None or found.sandbox is None or found.sandbox.gone.done():
            return None
        return found.sandbox

    def log(self, container: str, *, previous: bool) -> ContainerLog | None:
        """Return what a container wrote in its last run, or in the one before."""
        found = self._container(container)
        return None if found is None else found.logs[previous]

    def _container(self, name: str) -> ContainerLife | None:
        return next((one for one in self._containers if one.name == name), None)

    async def run(self) -> None:
        """Live until deleted; then the object and every process are gone."""
        try:
            async with asyncio.TaskGroup() as group:
                work = group.create_task(self._work())
                await self._ending.wait()
                work.cancel()
            if not self.is_forgotten:
                await self._shut_down()
        finally:
            await self._close_containers()
        if not self.is_forgotten:
            self._record.edit(pod_status.let_go)
            self._record.delete()

    async def clean(self) -> None:
        """Remove the pod's folder from the host; its processes must be gone."""
        await folders.in_thread(folders.remove_tree, self._folder.path)

    def stop(self, grace: float) -> None:
        """Begin the end: TERM to PID 1, KILL after `grace` seconds; a later call may shorten it."""
        deadline = asyncio.get_running_loop().time() + grace
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)
        if self._ending.is_set():
            asyncio.get_running_loop().call_at(deadline, self._kill_now)
        self._ending.set()

    def kill(self) -> None:
        """End at once; the API object is gone already."""
        self.is_forgotten = True
        for container in self._containers:
            container.say_killing()
        self._ending.set()
        self._kill_now()

    def _kill_now(self) -> None:
        for container in self._containers:
            container.kill()

    async def _work(self) -> None:
        """Run the containers to their ends, unless the pod is evicted before."""
        self._record.edit(partial(pod_status.accepted, host_ip=self._host_ip))
        await self._mount()
        self._record.edit(pod_status.sandboxed)
        try:
            # 0, which Kubernetes refuses, is none.
            async with asyncio.timeout(self._spec.get("activeDeadlineSeconds") or None):
                message = await self._run_containers()
        except TimeoutError:
            await self._evict(_TOO_LONG, "DeadlineExceeded")
        else:
            if message is None:
                self._record.edit(pod_status.finished)
            else:
                await self._evict(message, "Evicted")
        self._finished()

    async def _mount(self) -> None:
        """Return when the pod's volumes are there."""
        registry, namespace = self._record.registry, self._record.namespace
        while True:
            try:
                files = volumes.contents(registry, namespace, self._spec)
                await folders.in_thread(volumes.make, self._folder, files)
            except volumes.MountError as error:
                self._record.event("Warning", "FailedMount", str(error))
                await registry.wait_for("secrets")
            except OSError as error:
                self._record.event("Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
                await asyncio.sleep(self._host.timings.create_again)
            else:
                return

    async def _run_containers(self) -> str | None:
        """Return None when all have ended for good, or why the pod is to be evicted."""
        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[str | None]] = [group.create_task(self._run_all())]
            if eviction.is_limited(self._spec):
                tasks.append(group.create_task(self._watch_disk()))
            done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                task.cancel()
        return next((found for task in done if (found := task.result())), None)

    async def _run_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for container in self._containers:
                group.create_task(container.run())

    async def _evict(self, message: str, reason: str) -> None:
        self._record.event("Warning", reason, message)
        deadline = asyncio.get_running_loop().time() + self._host.timings.eviction_grace
        ends = await self._stop_containers(deadline)
        self._record.edit(partial(pod_status.evicted, ends=ends, message=message, reason=reason))

    async def _watch_disk(self) -> str:
        layers = {one.name: self._folder.layer(one.name) for one in self._containers}
        look = partial(eviction.excess, self._spec, self._folder.volumes, layers)
        return await eviction.watch(look, self._host.timings.disk_sweep, self._host.disk_turn)

    async def _shut_down(self) -> None:
        """TERM, wait, KILL; then write how it ended."""
        pod = self._record.current()
        if pod is None or pod["status"]["phase"] in _FINISHED:
            return
        self._record.edit(pod_status.stopping)
        assert self._deadline is not None
        ends = await self._stop_containers(self._deadline)
        self._record.edit(pod_status.torn_down)
        self._record.edit(partial(pod_status.stopped, ends=ends))

    async def _stop_containers(self, deadline: float) -> dict[str, End]:
        ends = await asyncio.gather(*(one.stop(deadline) for one in self._containers))
        names = [one.name for one in self._containers]
        return {name: end for name, end in zip(names, ends, strict=True) if end is not None}

    async def _close_containers(self) -> None:
        await asyncio.gather(*(one.close() for one in self._containers))
