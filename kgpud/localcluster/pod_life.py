"""One pod from its node to its end: what a kubelet does for it."""

import asyncio
import contextlib
import signal
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kgpud.localcluster import (
    bwrap,
    folders,
    pod_env,
    pod_events,
    pod_status,
    reach,
    readiness,
    rootfs,
    volumes,
)
from kgpud.localcluster.errors import SandboxError
from kgpud.localcluster.registry import Document, Registry
from kgpud.localcluster.sandbox import Boot, Sandbox

_DEFAULT_CWD = "/workspace"
_RETRY_SECONDS = 2.0
_PULL_AGAIN_SECONDS = 0.5
_FIRST_BACK_OFF_SECONDS = 10.0
_LAST_BACK_OFF_SECONDS = 300.0


@dataclass(frozen=True)
class Host:
    """What every pod of this cluster is made with."""

    registry: Registry
    folder: Path
    bwrap: Path
    reach: Sequence[reach.Address]
    uid: Callable[[], int | None]

    @property
    def images(self) -> Path:
        """The folder of image files that pods share."""
        return self.folder / "images"


class PodLife:
    """A scheduled pod. `run` lives it; `stop` and `kill` end it."""

    def __init__(
        self, host: Host, pod: Document, host_ip: str, pod_ip: str, gpus: list[tuple[str, str]]
    ) -> None:
        self._host = host
        self._registry = host.registry
        self._namespace: str = pod["metadata"]["namespace"]
        self.name: str = pod["metadata"]["name"]
        self.uid: str = pod["metadata"]["uid"]
        self._spec: Document = pod["spec"]
        self._addresses = (host_ip, pod_ip)
        self._gpus = gpus
        self._folder = rootfs.PodFolder(host.folder / f"pod-{self.uid}", host.uid())
        self._ending = asyncio.Event()
        self._deadline: float | None = None
        self._forgotten = False
        self.sandbox: Sandbox | None = None

    async def run(self) -> None:
        """Live until deleted; then the object and everything on the host are gone."""
        try:
            async with asyncio.TaskGroup() as group:
                work = group.create_task(self._work())
                await self._ending.wait()
                work.cancel()
            if not self._forgotten:
                await self._shut_down()
        finally:
            await self._close_sandbox()
        if not self._forgotten:
            self._edit(_last_deletion)
            with contextlib.suppress(KeyError):
                self._registry.delete("pods", self._namespace, self.name)

    async def clean(self) -> None:
        """Remove the pod's folder from the host; its processes must be gone."""
        await folders.in_thread(folders.remove_tree, self._folder.path)

    def stop(self, grace: float) -> None:
        """Begin the end: TERM to PID 1, KILL after `grace` seconds; a later call may shorten it."""
        deadline = asyncio.get_running_loop().time() + grace
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)
        if self._ending.is_set() and self.sandbox is not None:
            asyncio.get_running_loop().call_at(deadline, self._kill_now)
        self._ending.set()

    def kill(self) -> None:
        """End at once; the API object is gone already."""
        self._forgotten = True
        self._ending.set()
        self._kill_now()

    def _kill_now(self) -> None:
        if self.sandbox is not None:
            self.sandbox.kill()

    def _edit(self, change: Callable[[Document], None]) -> None:
        """Change the stored pod; nothing when it has been deleted by force."""
        with contextlib.suppress(KeyError):
            pod = self._registry.get("pods", self._namespace, self.name)
            if pod is not None and pod["metadata"]["uid"] == self.uid:
                self._registry.replace("pods", self._namespace, self.name, change)

    def _event(self, kind: str, reason: str, message: str) -> None:
        pod = self._registry.get("pods", self._namespace, self.name)
        if pod is not None and pod["metadata"]["uid"] == self.uid:
            pod_events.record(self._registry, pod, kind, reason, message)

    async def _work(self) -> None:
        self._edit(lambda pod: pod_status.accepted(pod, self._addresses[0]))
        await self._pull()
        restarts = 0
        while True:
            sandbox = await self._start()
            code = await self._attend(sandbox)
            await self._close_sandbox()
            policy = self._spec["restartPolicy"]
            if policy == "Never" or (policy == "OnFailure" and code == 0):
                self._edit(partial(pod_status.finished, code=code))
                return
            self._edit(partial(pod_status.exited, code=code))
            await self._back_off(restarts)
            restarts += 1
            await folders.in_thread(folders.remove_tree, self._folder.root)
            await folders.in_thread(folders.remove_tree, self._folder.usr_local)

    async def _back_off(self, restarts: int) -> None:
        if restarts == 0:
            self._edit(lambda pod: pod_status.restarting(pod, None))
            return
        delay = min(_FIRST_BACK_OFF_SECONDS * 2 ** (restarts - 1), _LAST_BACK_OFF_SECONDS)
        message = f"back-off {delay:.0f}s restarting failed container={self._container['name']}"
        self._edit(lambda pod: pod_status.restarting(pod, message))
        self._event("Warning", "BackOff", "Back-off restarting failed container")
        await asyncio.sleep(delay)

    @property
    def _container(self) -> Document:
        container: Document = self._spec["containers"][0]
        return container

    async def _pull(self) -> None:
        """Return when the image is there; an unknown one never is."""
        image, policy = self._container["image"], self._container["imagePullPolicy"]
        if rootfs.canonical_image(image) is not None:
            said = f'Container image "{image}" already present on machine'
            self._event("Normal", "Pulled", said + " and can be accessed by the pod")
            return
        if policy == "Never":
            said = f'Container image "{image}" is not present with pull policy of Never'
            await self._wait_forever("ErrImageNeverPull", said)
        self._event("Normal", "Pulling", f'Pulling image "{image}"')
        trouble = (
            f'failed to pull and unpack image "{image}": failed to resolve image: '
            f"this local cluster has only {' and '.join(rootfs.IMAGES)}"
        )
        self._event("Warning", "Failed", f'Failed to pull image "{image}": {trouble}')
        self._event("Warning", "Failed", "Error: ErrImagePull")
        self._edit(lambda pod: pod_status.waiting(pod, "ErrImagePull", trouble))
        await asyncio.sleep(_PULL_AGAIN_SECONDS)
        said = f'Back-off pulling image "{image}"'
        self._event("Normal", "BackOff", said)
        await self._wait_forever("ImagePullBackOff", f"{said}: ErrImagePull: {trouble}")

    async def _wait_forever(self, reason: str, message: str) -> None:
        self._event("Warning", "Failed", f"Error: {reason}")
        self._edit(lambda pod: pod_status.waiting(pod, reason, message))
        await asyncio.Event().wait()

    async def _start(self) -> Sandbox:
        """Return the running sandbox, however often it takes to start it."""
        while True:
            try:
                await self._start_once()
            except pod_env.ConfigError as error:
                self._refuse("CreateContainerConfigError", str(error))
                await self._registry.wait_for("secrets")
            except (SandboxError, OSError) as error:
                self._refuse("CreateContainerError", str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                assert self.sandbox is not None
                return self.sandbox

    def _refuse(self, reason: str, message: str) -> None:
        self._event("Warning", "Failed", f"Error: {message}")
        self._edit(lambda pod: pod_status.waiting(pod, reason, message))

    async def _start_once(self) -> None:
        pod = self._registry.get("pods", self._namespace, self.name)
        if pod is None:
            raise SandboxError("the pod has been deleted")
        env = pod_env.environment(self._registry, pod)
        image, cwd = self._container["image"], self._container.get("workingDir") or _DEFAULT_CWD
        mounts = volumes.mounts(self._spec, self._folder)
        numbers = {(address.ip, address.port): None for address in self._host.reach}
        wanted = rootfs.Wanted(
            image,
            self.name,
            self._gpus,
            [mount.source.name for mount in mounts if mount.source is not None],
            [
                (one.ip, one.host)
                for one in self._host.reach
                if one.host not in (one.ip, "localhost")
            ],
        )
        root = await folders.in_thread(rootfs.build, self._folder, wanted, self._host.images)
        argv = bwrap.arguments(self._host.bwrap, root, mounts, env, self.name[:63], cwd)
        boot = Boot(argv, self._folder.uid, env, cwd, list(numbers))
        self.sandbox = await Sandbox.start(boot)
        self._event("Normal", "Created", "Container created")
        self._event("Normal", "Started", "Container started")
        identity = f"bubblewrap://{uuid.uuid4().hex}{uuid.uuid4().hex}"
        known = rootfs.canonical_image(image) or image
        probed = readiness.command(self._container) is not None

        def run(pod: Document) -> None:
            pod_status.running(pod, identity, self._addresses[1], known)
            pod_status.ready(pod, is_ready=not probed)

        self._edit(run)

    async def _attend(self, sandbox: Sandbox) -> int:
        """Probe the pod and forward its connections until its container ends; return its code."""
        numbers = {(one.ip, one.port): one for one in self._host.reach}
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(reach.forward(listener, address))
                for listener, address in zip(sandbox.listeners, numbers.values(), strict=True)
            ]
            if readiness.command(self._container) is not None:
                tasks.append(group.create_task(self._probe(sandbox)))
            code = await asyncio.shield(sandbox.gone)
            for task in tasks:
                task.cancel()
        return code

    async def _probe(self, sandbox: Sandbox) -> None:
        def set_ready(is_ready: bool) -> None:
            self._edit(partial(pod_status.ready, is_ready=is_ready))

        def unhealthy() -> None:
            self._event("Warning", "Unhealthy", "Readiness probe failed: ")

        await readiness.probe(sandbox, self._container, set_ready, unhealthy)

    async def _shut_down(self) -> None:
        """TERM, wait, KILL; then write how it ended."""
        sandbox = self.sandbox
        if sandbox is None:
            pod = self._registry.get("pods", self._namespace, self.name)
            if pod is not None and pod["status"]["phase"] not in ("Failed", "Succeeded"):
                self._edit(pod_status.never_started)
            return
        self._event("Normal", "Killing", f"Stopping container {self._container['name']}")
        await sandbox.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout_at(self._deadline):
                code = await asyncio.shield(sandbox.gone)
        except TimeoutError:
            sandbox.kill()
            code = await sandbox.gone
        self._edit(lambda pod: pod_status.finished(pod, code))

    async def _close_sandbox(self) -> None:
        sandbox, self.sandbox = self.sandbox, None
        if sandbox is not None:
            await sandbox.close()


def _last_deletion(pod: Document) -> None:
    pod["metadata"]["deletionGracePeriodSeconds"] = 0
