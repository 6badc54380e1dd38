"""One container of a pod, from its image to its last end."""

import asyncio
import contextlib
import signal
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from kgpud.localcluster import (
    bwrap,
    folders,
    images,
    pod_env,
    pod_status,
    probes,
    pulls,
    reach,
    rootfs,
    volumes,
)
from kgpud.localcluster.container_log import ContainerLog
from kgpud.localcluster.errors import CommandError, SandboxError
from kgpud.localcluster.gpus import Share
from kgpud.localcluster.host import Host
from kgpud.localcluster.limits import Held
from kgpud.localcluster.pod_record import PodRecord
from kgpud.localcluster.pod_status import End, Instance
from kgpud.localcluster.registry import Document
from kgpud.localcluster.sandbox import Boot, Sandbox

# Of this run, or the last one, and of the run before.
Logs = tuple[ContainerLog | None, ContainerLog | None]
_DEFAULT_CWD = "/workspace"


@dataclass(frozen=True)
class Place:
    """Where a container runs: its pod's folder, address and spec, and its share of the GPUs."""

    folder: rootfs.PodFolder
    pod_ip: str
    spec: Mapping[str, Any]
    gpus: Share


class ContainerLife:
    """Runs one container until it ends for good, or `stop` ends it."""

    def __init__(self, host: Host, record: PodRecord, container: Document, place: Place) -> None:
        self._host = host
        self._record = record.of_container(container["name"])
        self._spec = container
        self._place = place
        self._held: Held | None = None
        self.name: str = container["name"]
        self.sandbox: Sandbox | None = None
        self.logs: Logs = (None, None)

    async def run(self) -> None:
        """Live as the restart policy says; returns when the container is not to start again."""
        policy, failures, seconds = self._place.spec["restartPolicy"], 0, 0.0
        while True:
            await pulls.pull(self._record, self._spec, self._host.timings, self._wait)
            end = await self._once()
            restarts = policy == "Always" or (policy == "OnFailure" and end.code != 0)
            if restarts and failures:
                seconds = self._host.timings.back_off(failures)
                said = f"Back-off restarting failed container {self.name} in pod "
                self._record.event("Warning", "BackOff", said + self._record.full_name)
            if end.reason != "StartError":
                self._record.edit(partial(pod_status.ended, name=self.name, end=end))
            if not restarts:
                return
            failures += 1
            await self._back_off(seconds)

    async def _back_off(self, seconds: float) -> None:
        if seconds == 0:
            return
        lag = min(self._host.timings.status_lag, seconds)
        await asyncio.sleep(lag)
        who = f"container={self.name} pod={self._record.full_name}"
        self._wait("CrashLoopBackOff", f"back-off {seconds:g}s restarting failed {who}")
        await asyncio.sleep(seconds - lag)

    def _wait(self, reason: str, message: str) -> None:
        ip = self._place.pod_ip
        self._record.edit(lambda pod: pod_status.waiting(pod, self.name, reason, message, ip))

    async def _once(self) -> End:
        """Start the container, however often it takes, and return how it ended."""
        instance = self._instance()
        while True:
            try:
                sandbox = await self._start()
            except pod_env.ConfigError as error:
                self._refuse("CreateContainerConfigError", str(error))
                await self._record.registry.wait_for("secrets")
            except CommandError as error:
                return await self._not_started(instance, str(error))
            except (SandboxError, OSError) as error:
                self._refuse("CreateContainerError", str(error))
                await self.close()
                await asyncio.sleep(self._host.timings.create_again)
            else:
                break
        self._record.event("Normal", "Created", "Container created")
        self._record.event("Normal", "Started", "Container started")
        probed = probes.wanted(self._spec) is not None
        ip = self._place.pod_ip
        self._record.edit(
            lambda pod: pod_status.running(pod, self.name, instance, ip, is_ready=not probed)
        )
        return await self._attend(sandbox)

    def _instance(self) -> Instance:
        known = images.canonical(self._spec["image"])
        identity = f"bubblewrap://{uuid.uuid4().hex}{uuid.uuid4().hex}"
        return Instance(identity, f"docker.io/library/{known}", f"kgpud-local-cluster/{known}")

    def _refuse(self, reason: str, message: str) -> None:
        self._record.event("Warning", "Failed", f"Error: {message}")
        self._wait(reason, message)

    async def _not_started(self, instance: Instance, message: str) -> End:
        await self.close()
        self._record.event("Normal", "Created", "Container created")
        self._record.event("Warning", "Failed", f"Error: {message}")
        ip = self._place.pod_ip
        self._record.edit(lambda pod: pod_status.not_started(pod, self.name, instance, ip, message))
        return End(128, "StartError", message)

    async def _start(self) -> Sandbox:
        pod = self._record.current()
        if pod is None:
            raise SandboxError("the pod has been deleted")
        place, spec = self._place, self._spec
        env = place.gpus.environment(pod_env.environment(self._record.registry, pod, spec))
        names = [(one.ip, one.host) for one in self._host.reach if one.host != one.ip]
        hosts = [(place.pod_ip, self._record.name)]
        hosts += [pair for pair in names if pair[1] != "localhost"]
        hostname = self._record.name[:63]
        wanted = rootfs.Wanted(spec["image"], self.name, self._record.name, place.gpus, hosts)
        await folders.in_thread(folders.remove_tree, place.folder.layer(self.name))
        root = await folders.in_thread(rootfs.build, place.folder, wanted, self._host.images)
        mounts = volumes.mounts(place.spec, spec, place.folder)
        cwd = spec.get("workingDir") or _DEFAULT_CWD
        devices = place.gpus.device_mounts()
        argv = bwrap.arguments(self._host.bwrap, root, devices, mounts, env, hostname, cwd)
        self._held = Held(self._host, f"{self._record.uid}-{self.name}", spec)
        self.sandbox = await Sandbox.start(self._boot(argv, env, cwd, self._held))
        self.logs = (self.sandbox.log, self.logs[0])
        return self.sandbox

    def _boot(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, held: Held) -> Boot:
        command = [*(self._spec.get("command") or []), *(self._spec.get("args") or [])]
        numbers = list({(address.ip, address.port): None for address in self._host.reach})
        uid, ip = self._place.folder.uid, self._place.pod_ip
        return Boot(argv, uid, env, cwd, command, ip, numbers, held.enter)

    async def _attend(self, sandbox: Sandbox) -> End:
        """Probe the container and forward its connections until it ends; return how it did."""
        numbers = {(one.ip, one.port): one for one in self._host.reach}
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(reach.forward(listener, address))
                for listener, address in zip(sandbox.listeners, numbers.values(), strict=True)
            ]
            if probes.wanted(self._spec) is not None:
                tasks.append(group.create_task(self._probe(sandbox)))
            if self._held is not None and self._held.sampler is not None:
                tasks.append(group.create_task(self._held.sampler.run()))
            code = await asyncio.shield(sandbox.gone)
            for task in tasks:
                task.cancel()
        return await self._ended(code)

    async def _probe(self, sandbox: Sandbox) -> None:
        def set_ready(is_ready: bool) -> None:
            self._record.edit(partial(pod_status.ready, name=self.name, is_ready=is_ready))

        def unhealthy(message: str) -> None:
            self._record.event("Warning", "Unhealthy", message)

        target = probes.Target(sandbox, self._spec, self._place.pod_ip)
        await probes.attend(target, set_ready, unhealthy)

    async def stop(self, deadline: float) -> End | None:
        """TERM, and KILL at `deadline` (the loop's time); return how it ended, None if not run."""
        sandbox = self.sandbox
        if sandbox is None:
            return None
        self.say_killing()
        await sandbox.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout_at(deadline):
                code = await asyncio.shield(sandbox.gone)
        except TimeoutError:
            sandbox.kill()
            code = await sandbox.gone
        return await self._ended(code)

    def say_killing(self) -> None:
        """Record the Event that a running container is about to be ended."""
        if self.sandbox is not None and not self.sandbox.gone.done():
            self._record.event("Normal", "Killing", f"Stopping container {self.name}")

    def kill(self) -> None:
        """Kill the container now."""
        if self.sandbox is not None:
            self.sandbox.kill()

    async def _ended(self, code: int) -> End:
        return End(code, "OOMKilled" if await self.close() else None)

    async def close(self) -> bool:
        """Leave nothing of a run behind; return whether its memory ran out."""
        if self.sandbox is not None:
            await self.sandbox.close()
        ran_out = False
        if self._held is not None:
            with contextlib.suppress(OSError):  # a group that stays goes with the cluster's own
                ran_out = await folders.in_thread(self._held.release)
        self.sandbox = self._held = None
        return ran_out
