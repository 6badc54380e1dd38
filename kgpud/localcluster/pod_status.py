"""A pod's status document, step by step as a kubelet writes it.

Each function edits the pod document it is given; the registry hands out a copy to edit.
"""

from typing import Any

from kgpud.localcluster.registry import Document, now

_ORDER = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
_UNKNOWN = {
    "exitCode": 137,
    "reason": "ContainerStatusUnknown",
    "message": "The container could not be located when the pod was terminated",
    "startedAt": None,
    "finishedAt": None,
}


def assigned(pod: Document, node: str) -> None:
    """Bind the pod to a node."""
    pod["spec"]["nodeName"] = node
    _condition(pod, "PodScheduled", "True", observed=False)


def unschedulable(pod: Document, message: str) -> None:
    """Say that no node fits, and why."""
    _condition(pod, "PodScheduled", "False", "Unschedulable", message)


def accepted(pod: Document, host_ip: str) -> None:
    """Write the kubelet's first status: the container is being created."""
    status = pod["status"]
    _condition(pod, "PodReadyToStartContainers", "False")
    _condition(pod, "Initialized", "True")
    _condition(pod, "PodScheduled", "True")
    _unready(pod)
    status["hostIP"], status["hostIPs"] = host_ip, [{"ip": host_ip}]
    status["startTime"] = now()
    status["containerStatuses"] = [
        {
            "name": container["name"],
            "state": {"waiting": {"reason": "ContainerCreating"}},
            "lastState": {},
            "ready": False,
            "restartCount": 0,
            "image": container["image"],
            "imageID": "",
            "started": False,
        }
        for container in pod["spec"]["containers"]
    ]
    _last(status)


def waiting(pod: Document, reason: str, message: str) -> None:
    """Say why the container does not run yet."""
    _condition(pod, "PodReadyToStartContainers", "True")
    for container in pod["status"]["containerStatuses"]:
        container["state"] = {"waiting": {"reason": reason, "message": message}}


def running(pod: Document, container_id: str, pod_ip: str, image: str) -> None:
    """Say that the container runs; it is ready only after `ready`."""
    status = pod["status"]
    status["phase"] = "Running"
    _condition(pod, "PodReadyToStartContainers", "True")
    status["podIP"], status["podIPs"] = pod_ip, [{"ip": pod_ip}]
    status["containerStatuses"] = [
        {
            "name": container["name"],
            "state": {"running": {"startedAt": now()}},
            "lastState": container["lastState"],
            "ready": False,
            "restartCount": container["restartCount"],
            "image": f"docker.io/library/{image}",
            "imageID": f"kgpud-local-cluster/{image}",
            "containerID": container_id,
            "started": True,
            "resources": {},
            "user": {"linux": {"uid": 0, "gid": 0, "supplementalGroups": [0]}},
        }
        for container in status["containerStatuses"]
    ]
    _last(status)


def ready(pod: Document, *, is_ready: bool) -> None:
    """Write the outcome of the readiness probe."""
    for container in pod["status"]["containerStatuses"]:
        container["ready"] = is_ready
    if not is_ready:
        _unready(pod)
        return
    _condition(pod, "Ready", "True")
    _condition(pod, "ContainersReady", "True")


def exited(pod: Document, code: int) -> None:
    """Write how the container ended; the pod itself goes on."""
    for container in pod["status"]["containerStatuses"]:
        _terminate(container, code)
    _unready(pod)


def restarting(pod: Document, back_off: str | None) -> None:
    """Move the ended container to lastState, before it starts again or waits to."""
    for container in pod["status"]["containerStatuses"]:
        if "terminated" in container["state"]:
            container["lastState"] = container["state"]
            container["restartCount"] += 1
        if back_off is not None:
            container["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": back_off}}


def finished(pod: Document, code: int) -> None:
    """Write the terminal phase of a pod whose container ended with `code`."""
    for container in pod["status"]["containerStatuses"]:
        _terminate(container, code)
    pod["status"]["phase"] = "Succeeded" if code == 0 else "Failed"
    reason = "PodCompleted" if code == 0 else "PodFailed"
    _condition(pod, "PodReadyToStartContainers", "False")
    for kind in ("Ready", "ContainersReady"):
        _condition(pod, kind, "False", reason)


def never_started(pod: Document) -> None:
    """Write the terminal phase of a pod that was deleted before its container ran."""
    for container in pod["status"].get("containerStatuses", []):
        container["state"] = {"terminated": dict(_UNKNOWN)}
    _condition(pod, "PodReadyToStartContainers", "False")
    pod["status"]["phase"] = "Failed"


def _terminate(container: Document, code: int) -> None:
    if "running" not in container["state"]:
        return
    container["state"] = {
        "terminated": {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": container["state"]["running"]["startedAt"],
            "finishedAt": now(),
            "containerID": container["containerID"],
        }
    }
    container["ready"] = container["started"] = False


def _unready(pod: Document) -> None:
    names = " ".join(container["name"] for container in pod["spec"]["containers"])
    message = f"containers with unready status: [{names}]"
    for kind in ("Ready", "ContainersReady"):
        _condition(pod, kind, "False", "ContainersNotReady", message)


def _condition(
    pod: Document,
    kind: str,
    status: str,
    reason: str | None = None,
    message: str | None = None,
    *,
    observed: bool = True,
) -> None:
    """Set one condition, keeping the time of its last transition when its status stays."""
    conditions = pod["status"].setdefault("conditions", [])
    before = next((one for one in conditions if one["type"] == kind), None)
    since = before["lastTransitionTime"] if before and before["status"] == status else now()
    new: dict[str, Any] = {"type": kind}
    if observed:
        new["observedGeneration"] = pod["metadata"]["generation"]
    new |= {"status": status, "lastProbeTime": None, "lastTransitionTime": since}
    if reason is not None:
        new["reason"] = reason
    if message is not None:
        new["message"] = message
    kept = [one for one in conditions if one["type"] != kind]
    pod["status"]["conditions"] = sorted([*kept, new], key=lambda one: _ORDER.index(one["type"]))


def _last(status: Document) -> None:
    """Put the fields that the API server writes last behind the others."""
    for key in ("qosClass",):
        status[key] = status.pop(key)
    status["resources"] = {}
