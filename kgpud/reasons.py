"""Why rentals end: the reasons that have a name here, and what each means in words. Pure."""

RETURNED = "returned"
ADMIN_RELEASED = "admin_released"
OUT_OF_CREDITS = "out_of_credits"
AUTO_IDLE = "auto_idle"
NODE_LOST = "node_lost"
# The pod went, or is made to go, and neither we nor the kubelet did it.
POD_LOST = "pod_lost"
# The embedded cluster of `kgpud dev` was stopped, and its pods with it.
LOCAL_CLUSTER_STOPPED = "local_cluster_stopped"

EVICTED = "evicted_by_kubelet:"
DISK = EVICTED + "OutOfephemeral-storage"
OOM = EVICTED + "OOMKilled"
NODE_PRESSURE = EVICTED + "NodePressure"
NODE_SHUTDOWN = EVICTED + "NodeShutdown"
PREEMPTED = EVICTED + "Preempted"

START_FAILED = "start_failed:"
POD_FAILED = "pod_failed:"

_SORRY = "that is the operator's fault, not yours, and the last minute was refunded"
_SENTENCES = {
    RETURNED: "the rental was released; its disk is destroyed",
    ADMIN_RELEASED: "the operator released the rental; its disk is destroyed",
    OUT_OF_CREDITS: "the balance ran out, so the rental was released",
    AUTO_IDLE: "the rental was idle for too long, so it was released",
    NODE_LOST: f"the machine that it ran on was lost; {_SORRY}",
    POD_LOST: f"its pod was deleted by somebody else; {_SORRY}",
    LOCAL_CLUSTER_STOPPED: "the local cluster was stopped, and its pods went with it",
    DISK: "it wrote more than its ephemeral_storage_gib; rent with more or delete as you go",
    OOM: "its processes took more than its memory; rent with more",
    NODE_PRESSURE: f"the machine that it ran on ran short of disk, memory or processes; {_SORRY}",
    NODE_SHUTDOWN: f"the machine that it ran on was shut down; {_SORRY}",
    PREEMPTED: f"the cluster needed its place for a pod of its own; {_SORRY}",
}


def is_operators_fault(reason: str) -> bool:
    """Tell whether the operator, not the renter, is to blame: the last minute is given back."""
    evicted = reason.startswith(EVICTED) and reason not in (DISK, OOM)
    return evicted or reason in (NODE_LOST, POD_LOST)


def sentence(reason: str) -> str:
    """Return what a rental's end means, for its renter to read."""
    if reason.startswith(POD_FAILED):
        return f"the container's first process ended, exit code {reason.removeprefix(POD_FAILED)}"
    if reason.startswith(START_FAILED):
        return f"it never started ({reason.removeprefix(START_FAILED)}); nothing was charged"
    if reason.startswith(EVICTED) and reason not in _SENTENCES:
        return f"the machine that it ran on put it out ({reason.removeprefix(EVICTED)}); {_SORRY}"
    return _SENTENCES.get(reason, f"the rental ended: {reason}")
