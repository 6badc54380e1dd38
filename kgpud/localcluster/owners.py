"""What goes when its owner has gone: Kubernetes' garbage collection, for pods that own objects."""

from kgpud.localcluster.kinds import KINDS
from kgpud.localcluster.registry import Registry

_OWNED = tuple(kind.plural for kind in KINDS if kind.namespaced and kind.plural != "pods")


def collect(registry: Registry, owner: str) -> None:
    """Delete the objects whose only living owners were the pod `owner` (a uid)."""
    pods = {one["metadata"]["uid"] for one in registry.by_age("pods")}
    for plural in _OWNED:
        for document in registry.by_age(plural):
            metadata = document["metadata"]
            owners = {one["uid"] for one in metadata.get("ownerReferences") or []}
            if owner in owners and not owners & pods:
                registry.delete(plural, metadata["namespace"], metadata["name"])
