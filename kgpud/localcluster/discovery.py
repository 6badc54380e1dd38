"""What this API server says it has: its version, groups and resources, plain or aggregated."""

import platform

from kgpud.localcluster.kinds import KINDS, REVIEWS, Kind, Subresource
from kgpud.localcluster.registry import Document

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
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
# In the order of an API server's own list.
GROUPS = (
    "authentication.k8s.io",
    "authorization.k8s.io",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
)


def api_versions(address: str) -> Document:
    """Answer /api."""
    serving = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [serving]}


def groups() -> Document:
    """Answer /apis."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in GROUPS]}


def group(name: str) -> Document:
    """Answer /apis/GROUP."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}


def _group(name: str) -> Document:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def resources(group: str) -> Document:
    """Answer /api/v1 (`group` empty) or /apis/GROUP/v1."""
    listed = [entry for kind in KINDS if kind.group == group for entry in _entries(kind)]
    listed += [
        {
            "name": review.plural,
            "singularName": review.name.lower(),
            "namespaced": False,
            "kind": review.name,
            "verbs": ["create"],
        }
        for review in REVIEWS
        if review.group == group
    ]
    listed.sort(key=lambda entry: str(entry["name"]))
    named = {"groupVersion": f"{group}/v1" if group else "v1", "resources": listed}
    # The core group alone comes without its own version.
    return {"kind": "APIResourceList", **({"apiVersion": "v1"} if group else {}), **named}


def _entries(kind: Kind) -> list[Document]:
    entry: Document = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": list(kind.verbs),
        **_names(kind),
    }
    if kind.storage_hash:
        entry["storageVersionHash"] = kind.storage_hash
    return [entry, *(_below(kind, one) for one in kind.subresources)]


def _names(kind: Kind) -> Document:
    named = {"shortNames": list(kind.short), "categories": list(kind.categories)}
    return {key: names for key, names in named.items() if names}


def _below(kind: Kind, one: Subresource) -> Document:
    return {
        "name": f"{kind.plural}/{one.name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        **({"group": one.group, "version": "v1"} if one.group else {}),
        "kind": one.kind,
        "verbs": list(one.verbs),
    }


def aggregated(names: tuple[str, ...]) -> Document:
    """Answer /api (the group named "") or /apis in one document, as newer clients ask for it."""
    items = []
    for name in names:
        described = [_described(kind) for kind in KINDS if kind.group == name]
        described += [
            _discovered(review.plural, review.name, "Cluster", review.name.lower(), ("create",))
            for review in REVIEWS
            if review.group == name
        ]
        described.sort(key=lambda entry: str(entry["resource"]))
        version = {"version": "v1", "resources": described, "freshness": "Current"}
        items.append({"metadata": {"name": name} if name else {}, "versions": [version]})
    named = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2"}
    return {**named, "metadata": {}, "items": items}


def _described(kind: Kind) -> Document:
    scope = "Namespaced" if kind.namespaced else "Cluster"
    entry = _discovered(kind.plural, kind.name, scope, kind.singular, kind.verbs)
    entry |= _names(kind)
    if kind.subresources:
        entry["subresources"] = [
            {
                "subresource": one.name,
                "responseKind": _response_kind(one.kind, one.group),
                "verbs": list(one.verbs),
            }
            for one in kind.subresources
        ]
    return entry


def _discovered(
    plural: str, kind: str, scope: str, singular: str, verbs: tuple[str, ...]
) -> Document:
    return {
        "resource": plural,
        "responseKind": _response_kind(kind, ""),
        "scope": scope,
        "singularResource": singular,
        "verbs": list(verbs),
    }


def _response_kind(kind: str, group: str) -> Document:
    return {"group": group, "version": "v1" if group else "", "kind": kind}
