"""Real pods' lives, as a real kubelet told them (trimmed from the recordings in shared/kube)."""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from kgpud.cluster.pods import PodState, derive

LIVES = Path(__file__).parent / "lifecycles"
DISK = "evicted_by_kubelet:OutOfephemeral-storage"


def replay(name: str) -> Iterator[PodState]:
    for line in (LIVES / f"{name}.jsonl").read_text().splitlines():
        event = json.loads(line)
        pod = {
            "metadata": {"name": "p", "deletionTimestamp": event["deletionTimestamp"]},
            "spec": {"nodeName": event["nodeName"]},
            "status": event["status"],
        }
        yield derive(pod, deleted=event["type"] == "DELETED")


def word(pod: PodState) -> str:
    if pod.failure is not None:
        return pod.failure
    if pod.deleting:
        return "going"
    if pod.pending_reason is not None:
        return pod.pending_reason.partition(":")[0]
    return "ready" if pod.ready else "finished" if pod.finished_at else "running"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("normal_ready_delete", "starting running ready going"),
        ("gpu_ok", "starting ready going"),
        ("graceful_term_ignored", "starting ready going"),
        ("delete_while_exec", "starting ready going"),
        ("exit_nonzero_never", "starting ready finished pod_failed:3 going"),
        ("exit_zero_never", "starting ready finished pod_failed:0 going"),
        ("oom", "starting ready finished evicted_by_kubelet:OOMKilled going"),
        ("oom_in_exec", "starting ready going"),
        ("ephemeral_limit_eviction", f"starting ready {DISK}"),
        ("emptydir_limit_eviction", f"starting ready {DISK}"),
        ("bad_command", "starting start_failed:StartError going"),
        ("gpu_insufficient", "starting Unschedulable going"),
        ("image_always_unreachable", "starting ErrImagePull ImagePullBackOff going"),
        ("image_bad_name", "starting InvalidImageName going"),
        ("image_never_absent", "starting ErrImageNeverPull going"),
        ("missing_secret", "starting going"),
    ],
)
def test_a_recorded_life_reads_as(name: str, words: str) -> None:
    states = list(replay(name))
    assert " ".join(key for key, _ in groupby(map(word, states))) == words
    assert [pod.deleted for pod in states] == [False] * (len(states) - 1) + [True]
    # A container that never ran is never billed.
    assert any(pod.started_at for pod in states) == ("ready" in words)


@pytest.mark.parametrize("path", sorted(LIVES.iterdir()), ids=lambda path: path.stem)
def test_no_recorded_pod_is_ready_when_it_is_over(path: Path) -> None:
    for pod in replay(path.stem):
        assert not (pod.ready and (pod.deleting or pod.deleted or pod.failure))


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
