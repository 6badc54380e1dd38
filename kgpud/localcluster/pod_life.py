"""One pod from its node to its end: what a kubelet does for it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from kgpud.localcluster import (
    bwrap,
    folders,
    pod_env,
    pod_events,
    pod_status,
    quantity,
    reach,
    rootfs,
)
from kgpud.localcluster.errors import ExecRefusedError, SandboxError
from kgpud.localcluster.registry import Document, Registry
from kgpud.localcluster.sandbox import Boot, Sandbox

_P = ParamSpec("_P")
_T = TypeVar("_T")

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
        await _in_thread(folders.remove_tree, self._folder.path)

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
                self._edit(lambda pod, code=code: pod_status.finished(pod, code))  # type: ignore[misc]
                return
            self._edit(lambda pod, code=code: pod_status.exited(pod, code))  # type: ignore[misc]
            await self._back_off(restarts)
            restarts += 1
            await _in_thread(folders.remove_tree, self._folder.root)
            await _in_thread(folders.remove_tree, self._folder.usr_local)

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
                await self._registry.wait()
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
        mounts = self._mounts()
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
        root = await _in_thread(rootfs.build, self._folder, wanted, self._host.images)
        argv = bwrap.arguments(self._host.bwrap, root, mounts, env, self.name[:63], cwd)
        boot = Boot(argv, self._folder.uid, env, cwd, list(numbers))
        self.sandbox = await Sandbox.start(boot)
        self._event("Normal", "Created", "Container created")
        self._event("Normal", "Started", "Container started")
        identity = f"bubblewrap://{uuid.uuid4().hex}{uuid.uuid4().hex}"
        known = rootfs.canonical_image(image) or image
        probed = self._probe_command() is not None

        def run(pod: Document) -> None:
            pod_status.running(pod, identity, self._addresses[1], known)
            pod_status.ready(pod, is_ready=not probed)

        self._edit(run)

    def _mounts(self) -> list[bwrap.Mount]:
        """Return the emptyDirs that the container mounts; other volumes are not offered."""
        volumes = {volume["name"]: volume for volume in self._spec.get("volumes") or []}
        mounts = []
        for mount in self._container.get("volumeMounts") or []:
            empty = volumes.get(mount["name"], {}).get("emptyDir")
            if empty is None:
                continue
            source = self._folder.volume(mount["name"])
            size = empty.get("sizeLimit")
            if empty.get("medium") == "Memory":
                room = quantity.whole(size) if size else None
                mounts.append(bwrap.Mount(mount["mountPath"], None, room))
            else:
                read_only = bool(mount.get("readOnly"))
                mounts.append(bwrap.Mount(mount["mountPath"], source, None, read_only))
        return mounts

    async def _attend(self, sandbox: Sandbox) -> int:
        """Probe the pod and forward its connections until its container ends; return its code."""
        numbers = {(one.ip, one.port): one for one in self._host.reach}
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(reach.forward(listener, address))
                for listener, address in zip(sandbox.listeners, numbers.values(), strict=True)
            ]
            if self._probe_command() is not None:
                tasks.append(group.create_task(self._probe(sandbox)))
            code = await asyncio.shield(sandbox.gone)
            for task in tasks:
                task.cancel()
        return code

    def _probe_command(self) -> list[str] | None:
        probe = self._container.get("readinessProbe") or {}
        command: list[str] | None = (probe.get("exec") or {}).get("command")
        return command

    async def _probe(self, sandbox: Sandbox) -> None:
        probe, command = self._container["readinessProbe"], self._probe_command()
        assert command is not None
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        failures = 0
        while not sandbox.gone.done():
            try:
                passed = await sandbox.run(command, probe["timeoutSeconds"]) == 0
            except ExecRefusedError:
                passed = False
            except SandboxError:
                return
            failures = 0 if passed else failures + 1
            if passed or failures >= probe["failureThreshold"]:
                self._edit(lambda pod, passed=passed: pod_status.ready(pod, is_ready=passed))  # type: ignore[misc]
            if not passed:
                self._event("Warning", "Unhealthy", "Readiness probe failed: ")
            await asyncio.sleep(probe["periodSeconds"])

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


async def _in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run blocking work in a thread and, even when cancelled, return only after it."""
    done = asyncio.get_running_loop().run_in_executor(None, lambda: work(*args, **kwargs))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        raise


def _last_deletion(pod: Document) -> None:
    pod["metadata"]["deletionGracePeriodSeconds"] = 0
