"""What is read from a pod object. Real pods' lives are played in `tests/lies/test_lives.py`."""

import pytest

from kgpud.cluster.pods import PodState, derive
from tests.recorded import files


def test_no_recorded_pod_is_ready_when_it_is_over() -> None:
    for name in files.names():
        for row in files.rows(name) if name.startswith("lifecycle/") else ():
            if row.get("ev") == "watch":
                gone = row["deletionTimestamp"]
                metadata = {"name": "p", "deletionTimestamp": gone}
                pod = {"metadata": metadata, "spec": {}, "status": row["status"]}
                state = derive(pod, deleted=row["type"] == "DELETED")
                assert not (state.ready and (gone or state.deleted or state.failure))


def status(**parts: object) -> PodState:
    return derive({"metadata": {"name": "p"}, "spec": {}, "status": parts})


def test_what_is_the_operators_fault_is_told_apart() -> None:
    pressed = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi"
    assert status(phase="Failed", reason="Evicted", message=pressed).failure == (
        "evicted_by_kubelet:NodePressure"
    )
    tainted = [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]
    assert status(phase="Failed", conditions=tainted).failure == "node_lost"


def test_an_admission_refusal_never_started() -> None:
    pod = status(phase="Failed", reason="OutOfephemeral-storage", message="Pod was rejected: …")
    assert pod.failure == "start_failed:OutOfephemeral-storage"
    assert pod.started_at is None


def test_gpus_and_labels_come_from_the_spec() -> None:
    limits = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    labels = {"kgpu.net/installation": "i", "kgpu.net/gpu-model": "v100"}
    pod = derive({"metadata": {"name": "p", "labels": labels}, "spec": {"containers": [limits]}})
    assert (pod.gpu_count, pod.gpu_model, pod.installation) == (2, "v100", "i")


def test_a_sandbox_that_stands_waits_for_its_image() -> None:
    conditions = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "PodReadyToStartContainers", "status": "True"},
    ]
    waiting = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    seen = status(phase="Pending", conditions=conditions, containerStatuses=[waiting])
    assert seen.pending_reason == "pulling"


def test_no_terminal_obeys_what_a_registry_said() -> None:
    waiting = {"reason": "ErrImagePull", "message": "\x1b[2Jpull\n\x9b0;\u202e failed"}
    seen = status(phase="Pending", containerStatuses=[{"state": {"waiting": waiting}}])
    assert seen.pending_reason == "ErrImagePull: [2Jpull 0; failed"


@pytest.mark.parametrize(
    ("written", "number"),
    [
        *(("2", 2), (2, 2), ("2k", 2000), ("0", 0), ("x", 0), ("-1", 0), ("", 0)),
        ("9" * 5000, 0),
    ],
)
def test_a_strangers_quantity_is_read_or_counts_for_nothing(written: object, number: int) -> None:
    """Anybody's pod in the namespace is read, whatever it asks for."""
    limits = {"resources": {"limits": {"nvidia.com/gpu": written}}}
    pod = derive({"metadata": {"name": "p"}, "spec": {"containers": [limits]}})
    assert pod.gpu_count == number
