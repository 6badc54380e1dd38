"""A pod's phase and conditions, which follow from its containers' states."""

from typing import Any

from kgpud.localcluster.registry import Document, now

_ORDER = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
_FINISHED = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}


def phase_of(pod: Document, policy: str) -> str:
    """Return the phase that the containers' states make, as the kubelet's getPhase does."""
    containers = pod["status"].get("containerStatuses", [])
    codes = [
        one["state"]["terminated"]["exitCode"] for one in containers if "terminated" in one["state"]
    ]
    if any("waiting" in one["state"] and not one["lastState"] for one in containers):
        return "Pending"
    if len(codes) < len(containers) or policy == "Always":
        return "Running"
    if not any(codes):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def derive(pod: Document, phase: str | None = None) -> str:
    """Write conditions and phase, and return the phase; a terminal one is left for `finished`."""
    phase = phase or phase_of(pod, pod["spec"]["restartPolicy"])
    why = _FINISHED.get(phase)
    if phase not in _FINISHED:
        pod["status"]["phase"] = phase
    if phase == "Succeeded":
        condition(pod, "Initialized", "True", why)
    unready = [one["name"] for one in pod["status"]["containerStatuses"] if not one["ready"]]
    message = f"containers with unready status: [{' '.join(unready)}]"
    for kind in ("Ready", "ContainersReady"):
        if why:
            condition(pod, kind, "False", why)
        elif unready:
            condition(pod, kind, "False", "ContainersNotReady", message)
        else:
            condition(pod, kind, "True")
    observe(pod)
    return phase


def observe(pod: Document) -> None:
    """Note which generation of the spec the status is about."""
    generation = pod["metadata"]["generation"]
    pod["status"]["observedGeneration"] = generation
    for one in pod["status"].get("conditions", []):
        one["observedGeneration"] = generation


def condition(
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
