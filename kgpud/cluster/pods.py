"""What a pod object says, read once and for all: `derive` is the only reader of pod status."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kgpud import reasons
from kgpud.clock import parse_rfc3339

CONTAINER = "main"
GPU = "nvidia.com/gpu"
INSTALLATION = "kgpu.net/installation"
GPU_MODEL = "kgpu.net/gpu-model"

# Kubernetes writes the year 1970 for a container that never started.
_NOT_A_TIME_BEFORE = 10**12
_TEXT_LIMIT = 300
_NODE_WENT = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})
# What the kubelet writes on running pods that it ends for its own sake (pkg/kubelet/nodeshutdown
# and preemption).
_PUT_OUT = {"Terminated": reasons.NODE_SHUTDOWN, "Preempting": reasons.PREEMPTED}
# containerd's word for a container that was gone when it came back (internal/cri/server/
# restart.go). Shims outlive it, so that takes a machine that went down.
_UNSEEN = "Unknown"
# What a pod is held up by while nothing is wrong with it.
SCHEDULING, PULLING, STARTING = STAGES = ("scheduling", "pulling", "starting")

_THOUSANDS = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3}

Json = Mapping[str, Any]


@dataclass(frozen=True)
class PodState:
    """A pod at one moment. Times are the cluster's, in milliseconds since the epoch.

    `failure` is an end reason if the pod ended by itself; a pod that is being deleted ends by
    that and has none, unless it was evicted before. `deletion_asked_at` is when the API server was
    asked for that. `deleted` means that the object is gone.
    """

    name: str
    uid: str
    node: str | None
    phase: str
    ready: bool
    started_at: int | None
    finished_at: int | None
    pending_reason: str | None
    failure: str | None
    deleted: bool
    deleting: bool
    deletion_asked_at: int | None
    gpu_count: int
    gpu_model: str | None
    installation: str | None


def derive(pod: Json, *, deleted: bool = False) -> PodState:
    """Read a pod object. `deleted` says that it came with a DELETED event."""
    metadata, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    labels = metadata.get("labels") or {}
    state = _container_state(status)
    started = _time(_either(state, "running", "terminated"), "startedAt")
    deleting = metadata.get("deletionTimestamp") is not None
    failure = _failure(status, state, deleting=deleting)
    over = deleting or deleted or failure is not None
    return PodState(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        node=spec.get("nodeName"),
        phase=status.get("phase", "Pending"),
        ready=not over and _condition(status, "Ready").get("status") == "True",
        started_at=started,
        finished_at=_time(state.get("terminated"), "finishedAt"),
        pending_reason=None if started or over else _pending_reason(status, state),
        failure=failure,
        deleted=deleted,
        deleting=deleting,
        deletion_asked_at=_deletion_asked_at(metadata),
        gpu_count=_gpus(spec),
        gpu_model=labels.get(GPU_MODEL),
        installation=labels.get(INSTALLATION),
    )


def _container_state(status: Json) -> Json:
    for container in status.get("containerStatuses") or ():
        if container.get("name", CONTAINER) == CONTAINER:
            state: Json = container.get("state") or {}
            return state
    return {}


def _either(state: Json, *names: str) -> Json | None:
    return next((state[name] for name in names if state.get(name)), None)


def _time(part: Json | None, name: str) -> int | None:
    text = part.get(name) if part else None
    moment = parse_rfc3339(text) if text else 0
    return moment if moment > _NOT_A_TIME_BEFORE else None


def _deletion_asked_at(metadata: Json) -> int | None:
    """Return when the deletion was asked for: the timestamp lies the grace period after that."""
    at = _time(metadata, "deletionTimestamp")
    return None if at is None else at - 1000 * (metadata.get("deletionGracePeriodSeconds") or 0)


def _condition(status: Json, kind: str) -> Json:
    found = (c for c in status.get("conditions") or () if c.get("type") == kind)
    return next(found, {})


def _failure(status: Json, state: Json, *, deleting: bool) -> str | None:
    """Return the end reason of a pod that ended by itself, once the kubelet has made up its mind.

    A terminated container alone is not enough: why it was terminated comes with the pod's phase,
    up to two seconds later. The bill does not mind, it ends at `finished_at`.
    """
    over = status.get("phase") in {"Failed", "Succeeded"}
    reason = status.get("reason")
    disruption = _condition(status, "DisruptionTarget").get("reason")
    if (over or deleting) and (reason == "NodeLost" or disruption in _NODE_WENT):
        return reasons.NODE_LOST
    if over and reason == "Evicted":
        return _eviction(status.get("message") or "")
    if over and state and reason in _PUT_OUT:
        return _PUT_OUT[reason]
    if deleting or not over:
        return None
    return _own_end(reason, state.get("terminated"))


def _eviction(message: str) -> str:
    """Tell whose fault it was: the kubelet says Evicted to both, in sentences of its own."""
    if "node had condition" in message:
        # Refused at the door, by a node that was short already.
        return reasons.START_FAILED + "NodePressure"
    return reasons.NODE_PRESSURE if "low on resource" in message else reasons.DISK


def _own_end(reason: str | None, terminated: Json | None) -> str:
    if terminated is None:
        # The kubelet refused to take the pod: OutOfephemeral-storage, UnexpectedAdmissionError…
        return f"{reasons.START_FAILED}{reason or 'Failed'}"
    why = terminated.get("reason")
    if why == _UNSEEN:
        return reasons.NODE_LOST
    if why == "OOMKilled":
        return reasons.OOM
    if _time(terminated, "startedAt") is None:
        return f"{reasons.START_FAILED}{why or 'StartError'}"
    return f"{reasons.POD_FAILED}{terminated.get('exitCode', -1)}"


def _pending_reason(status: Json, state: Json) -> str:
    waiting = state.get("waiting") or {}
    if waiting.get("reason") not in {None, "ContainerCreating", "PodInitializing"}:
        return _text(waiting["reason"], waiting.get("message"))
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return _text(scheduled.get("reason") or "Unschedulable", scheduled.get("message"))
    return _stage(scheduled, _condition(status, "PodReadyToStartContainers"))


def _stage(scheduled: Json, sandbox: Json) -> str:
    """Return what a pod without a complaint waits for.

    The kubelet sets PodReadyToStartContainers (on from 1.29) once the sandbox stands: what
    remains then is the image, and a container that is made in no time.
    """
    if scheduled.get("status") != "True":
        return SCHEDULING
    return PULLING if sandbox.get("status") == "True" else STARTING


def _text(reason: str, message: str | None) -> str:
    text = f"{reason}: {message}" if message else reason
    # Registries have their say in it, and terminals show it.
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 1] + "…"


def _gpus(spec: Json) -> int:
    limits = ((c.get("resources") or {}).get("limits") or {} for c in spec.get("containers") or ())
    return sum(whole(limit.get(GPU, "0")) for limit in limits)


def whole(quantity: object) -> int:
    """Read a whole number as the API server writes it: 2000 is ``2k``. What is none counts as 0."""
    found = re.fullmatch(r"(\d{1,18})([kMG]?)", str(quantity))
    return int(found[1]) * _THOUSANDS[found[2]] if found else 0
