"""What a node object says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kgpud.clock import parse_rfc3339
from kgpud.cluster.placing import Placement
from kgpud.cluster.pods import GPU, whole


@dataclass(frozen=True)
class NodeState:
    """A node at one moment; `gpus` are its allocatable GPUs, whether in use or not.

    `cordoned` says that nothing more is placed there: by an operator's word, or by a taint that
    rented pods don't tolerate. `away_since` is when the cluster noted that it is not Ready
    (milliseconds since the epoch), None while it is, or where nobody noted when.
    """

    name: str
    hostname: str
    gpu_model: str | None
    gpus: int
    ready: bool
    cordoned: bool
    away_since: int | None = None


def derive_node(node: Mapping[str, Any], placement: Placement | None = None) -> NodeState:
    """Read a node object; `placement` says whose GPUs it has, by default its own label."""
    placement = placement or Placement()
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    labels = metadata.get("labels") or {}
    condition: Mapping[str, Any] = next(
        (c for c in status.get("conditions") or () if c.get("type") == "Ready"), {}
    )
    ready = condition.get("status") == "True"
    return NodeState(
        name=metadata["name"],
        hostname=labels.get("kubernetes.io/hostname", metadata["name"]),
        gpu_model=placement.gpu_model(labels),
        gpus=whole((status.get("allocatable") or {}).get(GPU, "0")),
        ready=ready,
        cordoned=bool(spec.get("unschedulable")) or placement.keeps_off(spec.get("taints") or ()),
        away_since=None if ready else _moment(condition.get("lastTransitionTime")),
    )


def _moment(text: str | None) -> int | None:
    return parse_rfc3339(text) if text else None
