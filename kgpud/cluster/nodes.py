"""What a node object says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kgpud.cluster.pods import GPU, GPU_MODEL, whole


@dataclass(frozen=True)
class NodeState:
    """A node at one moment; `gpus` are its allocatable GPUs, whether in use or not."""

    name: str
    hostname: str
    gpu_model: str | None
    gpus: int
    ready: bool
    cordoned: bool


def derive_node(node: Mapping[str, Any]) -> NodeState:
    """Read a node object."""
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    labels = metadata.get("labels") or {}
    conditions = status.get("conditions") or ()
    return NodeState(
        name=metadata["name"],
        hostname=labels.get("kubernetes.io/hostname", metadata["name"]),
        gpu_model=labels.get(GPU_MODEL),
        gpus=whole((status.get("allocatable") or {}).get(GPU, "0")),
        ready=any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions),
        cordoned=bool(spec.get("unschedulable")),
    )
