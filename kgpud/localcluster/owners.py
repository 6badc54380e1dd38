"""What goes when its owner has gone: Kubernetes' garbage collection, for pods that own objects."""

from kgpud.localcluster.kinds import KINDS
from kgpud.localcluster.registry import Registry

_OWNED = tuple(kind.plural for kind in KINDS if kind.namespaced and kind.plural != "pods")


def collect(registry: Registry, owner: str) -> None:
    """Delete the objects that `owner` (a uid) owns, unless it or another owner of theirs lives."""
    for plural in _OWNED:
        for document in registry.by_age(plural):
            metadata = document["metadata"]
            owners = {one["uid"] for one in metadata.get("ownerReferences") or []}
            if owner in owners and not _one_lives(registry, owners):
                registry.delete(plural, metadata["namespace"], metadata["name"])


def _one_lives(registry: Registry, uids: set[str]) -> bool:
    kinds = (registry.by_age(kind.plural) for kind in KINDS)
    return any(one["metadata"]["uid"] in uids for objects in kinds for one in objects)
