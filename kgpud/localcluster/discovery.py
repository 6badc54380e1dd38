"""What this API server says it has: versions, groups and resources."""

import platform
from dataclasses import dataclass

from kgpud.localcluster.registry import Document

VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2",
    "gitCommit": "kgpud-local-cluster",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": f"linux/{'amd64' if platform.machine() == 'x86_64' else platform.machine()}",
}


@dataclass(frozen=True)
class Resource:
    """One kind of object and what may be done with it."""

    plural: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    short: tuple[str, ...] = ()
    api: str = "v1"


_READ = ("get", "list", "watch")
_STORED = ("create", "delete", "get", "list", "patch", "watch")
RESOURCES = {
    resource.plural: resource
    for resource in (
        Resource("events", "Event", namespaced=True, verbs=_READ, short=("ev",)),
        Resource("namespaces", "Namespace", namespaced=False, verbs=_READ, short=("ns",)),
        Resource("nodes", "Node", namespaced=False, verbs=_READ, short=("no",)),
        Resource("pods", "Pod", namespaced=True, verbs=_STORED, short=("po",)),
        Resource("secrets", "Secret", namespaced=True, verbs=_STORED),
        Resource(
            "networkpolicies",
            "NetworkPolicy",
            namespaced=True,
            verbs=_STORED,
            short=("netpol",),
            api="networking.k8s.io/v1",
        ),
    )
}
_PLAIN = {
    "pods/exec": ("Pod", ("create", "get"), True),
    "pods/log": ("Pod", ("get",), True),
}
_GROUPS = ("authorization.k8s.io", "networking.k8s.io")


def api_versions(address: str) -> Document:
    """Answer /api."""
    serving = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [serving]}


def groups() -> Document:
    """Answer /apis."""
    listed = []
    for name in _GROUPS:
        version = {"groupVersion": f"{name}/v1", "version": "v1"}
        listed.append({"name": name, "versions": [version], "preferredVersion": version})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def resources(api: str) -> Document:
    """Answer /api/v1 or /apis/GROUP/v1; `api` is `v1` or `GROUP/v1`."""
    listed: list[Document] = []
    for resource in RESOURCES.values():
        if resource.api == api:
            entry: Document = {
                "name": resource.plural,
                "singularName": resource.kind.lower(),
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": list(resource.verbs),
            }
            if resource.short:
                entry["shortNames"] = list(resource.short)
            listed.append(entry)
    if api == "v1":
        for name, (kind, verbs, namespaced) in _PLAIN.items():
            common = {"name": name, "singularName": "", "namespaced": namespaced}
            listed.append({**common, "kind": kind, "verbs": list(verbs)})
    if api == "authorization.k8s.io/v1":
        review = {"name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview"}
        review_kind = {"namespaced": False, "kind": "SelfSubjectAccessReview", "verbs": ["create"]}
        listed.append({**review, **review_kind})
    listed.sort(key=lambda entry: entry["name"])
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api,
        "resources": listed,
    }
