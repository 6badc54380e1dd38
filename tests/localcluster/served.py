"""What of the recorded cluster's API is served here, and how recorded answers are cut to that."""

from collections.abc import Callable

from .clusters import Document

# These the recorded cluster has and this one has not: nothing here could stand behind them.
NOT_SERVED = frozenset(
    {
        "bindings",
        "componentstatuses",
        "endpoints",
        "limitranges",
        "persistentvolumeclaims",
        "persistentvolumes",
        "podtemplates",
        "replicationcontrollers",
        "resourcequotas",
        "services",
        "ingressclasses",
        "ingresses",
        "ipaddresses",
        "servicecidrs",
    }
)
NOT_SERVED_BELOW = {
    "namespaces": ("finalize", "status"),
    "nodes": ("proxy", "status"),
    "pods": (
        "attach", "binding", "ephemeralcontainers", "eviction", "portforward", "proxy", "resize",
        "status",
    ),
}  # fmt: skip
GROUPS_NOT_SERVED = frozenset(
    {
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "node.k8s.io",
        "policy",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)
# The fleet is given at the start, so nodes are neither made nor deleted.
NODE_VERBS = ["get", "list", "watch", "patch", "update"]


def _resources(body: Document) -> Document:
    """Take out of a recorded list of resources what is not served here."""
    kept = []
    for entry in body["resources"]:
        name, _slash, below = entry["name"].partition("/")
        if name in NOT_SERVED or below in NOT_SERVED_BELOW.get(name, ()):
            continue
        kept.append({**entry, "verbs": NODE_VERBS} if entry["name"] == "nodes" else entry)
    return {**body, "resources": kept}


def _aggregated(body: Document) -> Document:
    [group] = body["items"]
    [version] = group["versions"]
    kept = []
    for entry in version["resources"]:
        name = entry["resource"]
        if name in NOT_SERVED:
            continue
        left_out = NOT_SERVED_BELOW.get(name, ())
        below = [one for one in entry.pop("subresources", []) if one["subresource"] not in left_out]
        verbs = NODE_VERBS if name == "nodes" else entry["verbs"]
        kept.append({**entry, "verbs": verbs, **({"subresources": below} if below else {})})
    return {**body, "items": [{**group, "versions": [{**version, "resources": kept}]}]}


def _groups(body: Document) -> Document:
    kept = [group for group in body["groups"] if group["name"] not in GROUPS_NOT_SERVED]
    return {**body, "groups": kept}


def _events(body: Document) -> Document:
    """Leave out the event that only the recorded node, without DNS, had to tell."""
    kept = [item for item in body["items"] if item["reason"] != "MissingClusterDNS"]
    return {**body, "items": kept}


TRIMMED: dict[str, Callable[[Document], Document]] = {
    "api_v1": _resources,
    "networking_v1": _resources,
    "discovery_aggregated": _aggregated,
    "apis": _groups,
    "events": _events,
}
