"""From a rental to what the cluster is told: pure functions."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kgpud.cluster.pods import CONTAINER, GPU, GPU_MODEL, INSTALLATION
from store.records import Rental

RENTAL = "kgpu.net/rental"
ACCOUNT = "kgpu.net/account"
GPU_COUNT = "kgpu.net/gpu-count"
PRICE = "kgpu.net/price-per-hour"
CREATED = "kgpu.net/created-at"
NAME = "kgpu.net/name"
FINGERPRINT = "kgpu.net/key-fingerprint"

_TOKEN = "token"  # noqa: S105 - the name of a Secret's entry
# A node that can't be reached for a while keeps its pods: people's work is on them.
_UNREACHABLE_SECONDS = 3600

# Idles, goes at TERM, and as the shell of the pod waits for what it is left with. `wait` returns
# at once when a signal comes, which a plain sleep would not.
_IDLE = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done"


@dataclass(frozen=True)
class Installation:
    """What all pods of this installation have in common."""

    id: str
    api_base: str
    delete_grace_seconds: int = 5
    preloaded_images: tuple[str, ...] = ()


def pod(rental: Rental, env: Mapping[str, str], installation: Installation) -> dict[str, Any]:
    """Return the pod of a rental; `env` is the user's own part of the environment."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": rental.pod_id,
            "labels": _labels(rental, installation),
            "annotations": annotations(rental),
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": installation.delete_grace_seconds,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "affinity": _affinity(rental.gpu_model),
            "tolerations": _tolerations(),
            "volumes": [
                {"name": "workspace", "emptyDir": {}},
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
            ],
            "containers": [_container(rental, env, installation)],
        },
    }


def annotations(rental: Rental) -> dict[str, str]:
    """Return what would be needed to write the rental's row again from its pod."""
    return {
        NAME: rental.name,
        GPU_COUNT: str(rental.gpu_count),
        PRICE: str(rental.price_per_hour),
        CREATED: str(rental.created_at),
        FINGERPRINT: rental.fingerprint or "",
    }


def secret(rental: Rental, token: str, installation: Installation) -> dict[str, Any]:
    """Return the Secret that carries the in-pod token, named as the pod."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": rental.pod_id, "labels": _labels(rental, installation)},
        "data": {_TOKEN: base64.b64encode(token.encode()).decode()},
    }


def owned_by(pod_name: str, pod_uid: str) -> dict[str, Any]:
    """Return the merge patch that makes an object die with its pod."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": pod_name, "uid": pod_uid}
    return {"metadata": {"ownerReferences": [owner]}}


def _labels(rental: Rental, installation: Installation) -> dict[str, str]:
    return {
        INSTALLATION: installation.id,
        RENTAL: rental.pod_id,
        ACCOUNT: rental.account_id,
        GPU_MODEL: rental.gpu_model,
    }


def _affinity(gpu_model: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": GPU_MODEL, "operator": "In", "values": [gpu_model]}]}
    required = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def _tolerations() -> list[dict[str, Any]]:
    away = [
        {
            "key": f"node.kubernetes.io/{condition}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": _UNREACHABLE_SECONDS,
        }
        for condition in ("not-ready", "unreachable")
    ]
    return [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}, *away]


def _container(
    rental: Rental, env: Mapping[str, str], installation: Installation
) -> dict[str, Any]:
    resources = {
        "cpu": rental.cpu,
        "memory": rental.memory,
        "ephemeral-storage": f"{rental.ephemeral_storage_gib}Gi",
    }
    if rental.gpu_count:
        resources[GPU] = str(rental.gpu_count)
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": rental.image,
        "command": ["/bin/sh", "-c", _IDLE],
        "env": _environment(rental, env, installation),
        "resources": {"limits": resources, "requests": dict(resources)},
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [
            {"name": "workspace", "mountPath": "/workspace"},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - in the pod, not here
        ],
        "readinessProbe": {
            "exec": {"command": ["test", "-d", "/workspace"]},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
        },
    }
    if rental.image in installation.preloaded_images:
        container["imagePullPolicy"] = "IfNotPresent"
    return container


def _environment(
    rental: Rental, env: Mapping[str, str], installation: Installation
) -> list[dict[str, Any]]:
    from_secret = {"secretKeyRef": {"name": rental.pod_id, "key": _TOKEN}}
    ours: list[dict[str, Any]] = [
        {"name": "KGPU_API_TOKEN", "valueFrom": from_secret},
        {"name": "KGPU_API_BASE", "value": installation.api_base},
        {"name": "KGPU_GPU_ID", "value": rental.pod_id},
        {"name": "KGPU_RENT_ID", "value": rental.pod_id},
        # CDI hands out the GPUs; the legacy runtime must not add its own.
        {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"},
    ]
    # "$(NAME)" in a value would be expanded by the kubelet; "$$" stands for "$".
    users = [{"name": k, "value": v.replace("$(", "$$(")} for k, v in sorted(env.items())]
    return [*users, *ours]
