"""Pods that `kgpud doctor` looks around in: a rental's, but nobody's. Pure."""

from typing import Any

from kgpud.cluster import manifests
from kgpud.cluster.manifests import Installation
from kgpud.cluster.pods import GPU_MODEL
from store.records import Rental

#: Marks a canary.
CANARY = "kgpu.net/canary"


def pod(
    name: str,
    gpu_model: str,
    gpu_count: int,
    image: str,
    installation: Installation,
    *,
    seconds: int,
) -> dict[str, Any]:
    """Return a small rental's pod, without its Secret and unknown to the daemon.

    The kubelet ends it after `seconds`, whoever else may have gone by then.
    """
    rental = _rental(name, gpu_model, gpu_count, image)
    made = manifests.pod(rental, {}, installation)
    made["metadata"] = {"name": name, "labels": {CANARY: "true", GPU_MODEL: gpu_model}}
    made["spec"]["activeDeadlineSeconds"] = seconds
    container = made["spec"]["containers"][0]
    container["env"] = [one for one in container["env"] if "valueFrom" not in one]
    return made


def _rental(name: str, gpu_model: str, gpu_count: int, image: str) -> Rental:
    return Rental(
        pod_id=name,
        account_id="",
        name="canary",
        image=image,
        gpu_model=gpu_model,
        gpu_count=gpu_count,
        cpu="500m",
        memory="512Mi",
        ephemeral_storage_gib=1,
        price_per_hour=0,
        created_at=0,
        last_activity_at=0,
    )
