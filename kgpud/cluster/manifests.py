"""From a rental to what the cluster is told: pure functions."""

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kgpud.cluster.placing import Placement
from kgpud.cluster.pods import CONTAINER, GPU, GPU_MODEL, INSTALLATION
from kgpud.config import Config
from store.records import Rental

RENTAL = "kgpu.net/rental"
ACCOUNT = "kgpu.net/account"
GPU_COUNT = "kgpu.net/gpu-count"
PRICE = "kgpu.net/price-per-hour"
CREATED = "kgpu.net/created-at"
NAME = "kgpu.net/name"
FINGERPRINT = "kgpu.net/key-fingerprint"
GENERATION = "kgpu.net/key-generation"

_TOKEN = "token"  # noqa: S105 - the name of a Secret's entry
_WORKSPACE = "/workspace"
# Only builtins: what /bin/sh alone can do is what every image that can be rented can do.
_READY = f"cd {_WORKSPACE}"
# Idles, goes at TERM, and as the shell of the pod waits for what it is left with. `wait` returns
# at once when a signal comes, which a plain sleep would not.
IDLE = ("/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done")
# What every container of ours may not do. With raw packets a pod speaks for its neighbours on the
# node's bridge (ARP, DNS, router advertisements: CVE-2020-10749), from addresses no policy knows.
CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["NET_RAW"]}}


@dataclass(frozen=True)
class Installation:
    """What all pods of this installation have in common.

    `runtime_class` "" is the node's default runtime; without `host_users`, root in a pod is
    nobody on its node.
    """

    id: str
    api_base: str
    delete_grace_seconds: int = 5
    preloaded_images: tuple[str, ...] = ()
    placement: Placement = Placement()
    runtime_class: str = ""
    host_users: bool = True

    @classmethod
    def of(cls, config: Config, identity: str, api_base: str) -> "Installation":
        """Take what the configuration says."""
        return cls(
            identity,
            api_base,
            preloaded_images=config.images.local,
            placement=Placement.of(config.pods, config.gpu),
            runtime_class=config.pods.runtime_class,
            host_users=config.pods.host_users,
        )


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
            **frame(installation),
            "affinity": installation.placement.affinity(rental.gpu_model),
            "volumes": [
                {"name": "workspace", "emptyDir": {}},
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
            ],
            "containers": [_container(rental, env, installation)],
        },
    }


def frame(installation: Installation) -> dict[str, Any]:
    """Return what the spec of every pod of ours says: what it may do, and which taints it takes."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": installation.delete_grace_seconds,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": installation.placement.tolerations(),
    }
    if installation.runtime_class:
        spec["runtimeClassName"] = installation.runtime_class
    if not installation.host_users:
        spec["hostUsers"] = False
    return spec


def annotations(rental: Rental) -> dict[str, str]:
    """Return what would be needed to write the rental's row again from its pod."""
    return {
        NAME: rental.name,
        GPU_COUNT: str(rental.gpu_count),
        PRICE: str(rental.price_per_hour),
        CREATED: str(rental.created_at),
        FINGERPRINT: rental.fingerprint or "",
        GENERATION: str(rental.key_generation),
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


def _container(
    rental: Rental, env: Mapping[str, str], installation: Installation
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": rental.image,
        "command": list(IDLE),
        # Where all commands begin, whatever the image says: a folder that nobody can remove.
        "workingDir": _WORKSPACE,
        "env": _environment(rental, env, installation),
        "resources": {"limits": _resources(rental), "requests": _resources(rental)},
        "securityContext": CONFINED,
        "volumeMounts": [
            {"name": "workspace", "mountPath": _WORKSPACE},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - in the pod, not here
        ],
        "readinessProbe": {
            "exec": {"command": ["/bin/sh", "-c", _READY]},
            "periodSeconds": 5,
            # Slow to take back: a pod that is busy to its limits is still its user's.
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
    }
    if policy := pull_policy(rental.image, installation.preloaded_images):
        container["imagePullPolicy"] = policy
    return container


def _resources(rental: Rental) -> dict[str, str]:
    resources = {
        "cpu": rental.cpu,
        "memory": rental.memory,
        "ephemeral-storage": f"{rental.ephemeral_storage_gib}Gi",
    }
    if rental.gpu_count:
        resources[GPU] = str(rental.gpu_count)
    return resources


def pull_policy(image: str, preloaded: Collection[str]) -> str | None:
    """Return how a preloaded image is pulled, None for another: as Kubernetes thinks best.

    A name without a registry never is: it would be looked for on Docker Hub, where it is anybody's.
    Nor is it by Docker Hub's name for it, or whoever has it there would replace the node's own.
    """
    ours = next((one for one in preloaded if _in_full(one) == _in_full(image)), None)
    if ours is None:
        return None
    return "IfNotPresent" if _registry(ours) else "Never"


def _registry(image: str) -> str:
    """Return the registry that a reference names, "" if none."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else ""


def _in_full(image: str) -> str:
    """Write a reference out as container runtimes do (distribution/reference, normalize.go)."""
    registry = _registry(image)
    path = image[len(registry) :].lstrip("/")
    if registry in ("", "docker.io", "index.docker.io"):
        registry = "docker.io"
        path = path if "/" in path else f"library/{path}"
    tagged = "@" in path or ":" in path.rpartition("/")[2]
    return f"{registry}/{path}" if tagged else f"{registry}/{path}:latest"


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
    # The kubelet expands "$(NAME)" in a value, and "$$" stands for "$" everywhere.
    users = [{"name": k, "value": v.replace("$", "$$")} for k, v in sorted(env.items())]
    return [*users, *ours]
