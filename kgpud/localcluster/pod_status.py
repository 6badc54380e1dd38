"""A pod's status document, step by step as a kubelet writes it.

Each function edits the pod document it is given; the registry hands out a copy to edit. Phase
and conditions follow from the containers' states alone, as the kubelet's getPhase has it.
"""

from dataclasses import dataclass

from kgpud.localcluster.pod_conditions import condition, derive, observe, phase_of
from kgpud.localcluster.registry import Document, now

_NEVER = "1970-01-01T00:00:00Z"
_UNKNOWN = {
    "exitCode": 137,
    "reason": "ContainerStatusUnknown",
    "message": "The container could not be located when the pod was terminated",
    "startedAt": None,
    "finishedAt": None,
}


@dataclass(frozen=True)
class Instance:
    """One run of a container: its id, and its image's full name and digest."""

    id: str
    image: str
    image_id: str


@dataclass(frozen=True)
class End:
    """How a run of a container ended; without a reason the code says it."""

    code: int
    reason: str | None = None
    message: str | None = None


def assigned(pod: Document, node: str) -> None:
    """Bind the pod to a node."""
    pod["spec"]["nodeName"] = node
    condition(pod, "PodScheduled", "True", observed=False)


def unschedulable(pod: Document, message: str) -> None:
    """Say that no node fits, and why."""
    condition(pod, "PodScheduled", "False", "Unschedulable", message)


def accepted(pod: Document, host_ip: str) -> None:
    """Write the kubelet's first status: the containers are being created."""
    pod["status"] |= {
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "startTime": now(),
        "containerStatuses": [_created(container) for container in pod["spec"]["containers"]],
        "resources": pod["spec"]["containers"][0].get("resources") or {},
    }
    condition(pod, "PodReadyToStartContainers", "False")
    condition(pod, "Initialized", "True")
    derive(pod)


def sandboxed(pod: Document) -> None:
    """Say that the pod's volumes and network are there, so containers may start."""
    condition(pod, "PodReadyToStartContainers", "True")


def waiting(pod: Document, name: str, reason: str, message: str, pod_ip: str) -> None:
    """Say why a container does not run, or not again yet."""
    _address(pod, pod_ip)
    container = _container(pod, name)
    if "terminated" in container["state"]:
        container["lastState"] = container["state"]
    container["state"] = {"waiting": {"reason": reason, "message": message}}
    derive(pod)


def running(pod: Document, name: str, instance: Instance, pod_ip: str, *, is_ready: bool) -> None:
    """Say that a container runs, for the first time or again."""
    container = _instantiated(pod, name, instance, pod_ip)
    container["state"] = {"running": {"startedAt": now()}}
    container["ready"], container["started"] = is_ready, True
    derive(pod)


def not_started(pod: Document, name: str, instance: Instance, pod_ip: str, message: str) -> None:
    """Say that a container was created but its command could not be started."""
    container = _instantiated(pod, name, instance, pod_ip)
    ended = {"exitCode": 128, "reason": "StartError", "message": message}
    times = {"startedAt": _NEVER, "finishedAt": now(), "containerID": instance.id}
    container["state"] = {"terminated": {**ended, **times}}
    derive(pod)


def ready(pod: Document, name: str, *, is_ready: bool) -> None:
    """Write the outcome of a readiness probe."""
    _container(pod, name)["ready"] = is_ready
    derive(pod)


def ended(pod: Document, name: str, end: End) -> None:
    """Write how a container ended; the pod's phase may wait for `finished`."""
    _terminate(_container(pod, name), end)
    derive(pod)


def finished(pod: Document) -> None:
    """Write the terminal phase of a pod whose containers have all ended for good."""
    condition(pod, "PodReadyToStartContainers", "False")
    pod["status"]["phase"] = derive(pod)


def evicted(pod: Document, ends: dict[str, End], message: str, reason: str = "Evicted") -> None:
    """Write the end of a pod that used more than it may, or was there longer than it may."""
    for name, end in ends.items():
        _terminate(_container(pod, name), end)
    pod["status"] |= {"phase": "Failed", "reason": reason, "message": message}
    condition(pod, "PodReadyToStartContainers", "False")
    derive(pod, phase="Failed")


def stopping(pod: Document) -> None:
    """Say that the kubelet has seen the deletion."""
    for container in pod["status"].get("containerStatuses", []):
        if "waiting" in container["state"]:
            container["state"] = {"waiting": {"reason": "ContainerCreating"}}
            if "terminated" in container["lastState"]:
                container["state"] = container["lastState"]
    observe(pod)


def torn_down(pod: Document) -> None:
    """Say that nothing is left of a pod whose containers never ran; others are `stopped`."""
    if all("waiting" in one["state"] for one in pod["status"].get("containerStatuses", [])):
        condition(pod, "PodReadyToStartContainers", "False")


def stopped(pod: Document, ends: dict[str, End]) -> None:
    """Write the terminal phase of a pod whose deletion has ended its containers."""
    containers = pod["status"].get("containerStatuses", [])
    never_started = [one for one in containers if "waiting" in one["state"]]
    for container in containers:
        if container["name"] in ends:
            _terminate(container, ends[container["name"]])
    for container in never_started:
        container["state"] = {"terminated": dict(_UNKNOWN)}
    condition(pod, "PodReadyToStartContainers", "False")
    phase = phase_of(pod, "Never") if containers else "Failed"
    if len(never_started) < len(containers):
        derive(pod, phase=phase)
    pod["status"]["phase"] = phase


def let_go(pod: Document) -> None:
    """Say that nothing keeps the object from being deleted any more."""
    pod["metadata"]["deletionTimestamp"] = now()
    pod["metadata"]["deletionGracePeriodSeconds"] = 0


def _created(container: Document) -> Document:
    status = {
        "name": container["name"],
        "state": {"waiting": {"reason": "ContainerCreating"}},
        "lastState": {},
        "ready": False,
        "restartCount": 0,
        "image": container["image"],
        "imageID": "",
        "started": False,
    }
    if mounts := container.get("volumeMounts"):
        status["volumeMounts"] = mounts
    return status


def _instantiated(pod: Document, name: str, instance: Instance, pod_ip: str) -> Document:
    """Return the container's status with what a new run of it brings, its state still to come."""
    _address(pod, pod_ip)
    container = _container(pod, name)
    if "terminated" in container["state"]:
        container["lastState"] = container["state"]
    if container["lastState"]:
        container["restartCount"] += 1
    spec = next(one for one in pod["spec"]["containers"] if one["name"] == name)
    container |= {
        "image": instance.image,
        "imageID": instance.image_id,
        "containerID": instance.id,
        "resources": spec.get("resources") or {},
        "user": {"linux": {"uid": 0, "gid": 0, "supplementalGroups": [0]}},
    }
    if asked := container["resources"].get("requests"):
        container["allocatedResources"] = asked
    return container


def _terminate(container: Document, end: End) -> None:
    if "running" not in container["state"]:
        return
    how: Document = {"exitCode": end.code, "reason": end.reason}
    if end.reason is None:
        how["reason"] = "Completed" if end.code == 0 else "Error"
    if end.message is not None:
        how["message"] = end.message
    started = container["state"]["running"]["startedAt"]
    times = {"startedAt": started, "finishedAt": now(), "containerID": container["containerID"]}
    container["state"] = {"terminated": {**how, **times}}
    container["ready"] = container["started"] = False


def _container(pod: Document, name: str) -> Document:
    containers: list[Document] = pod["status"]["containerStatuses"]
    return next(one for one in containers if one["name"] == name)


def _address(pod: Document, pod_ip: str) -> None:
    pod["status"] |= {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}]}
