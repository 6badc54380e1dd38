"""Role-based access control over the stored roles and bindings.

The rules and the words of a refusal are those of Kubernetes' RBAC authorizer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kgpud.localcluster.auth import MASTERS, User
from kgpud.localcluster.errors import forbidden
from kgpud.localcluster.kinds import RBAC
from kgpud.localcluster.registry import Document, Registry
from kgpud.localcluster.request_info import RequestInfo

_ANY = "*"
_PUBLIC = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*",
              "/readyz", "/version", "/version/"]  # fmt: skip
_REVIEWS = [
    {
        "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        "verbs": ["create"],
    },
    {
        "apiGroups": ["authentication.k8s.io"],
        "resources": ["selfsubjectreviews"],
        "verbs": ["create"],
    },
]
_ROLES: dict[str, list[Document]] = {
    "cluster-admin": [
        {"apiGroups": [_ANY], "resources": [_ANY], "verbs": [_ANY]},
        {"nonResourceURLs": [_ANY], "verbs": [_ANY]},
    ],
    "system:basic-user": _REVIEWS,
    "system:discovery": [{"nonResourceURLs": _DISCOVERY, "verbs": ["get"]}],
    "system:public-info-viewer": [{"nonResourceURLs": _PUBLIC, "verbs": ["get"]}],
}
_BOUND = {
    "cluster-admin": [MASTERS],
    "system:basic-user": ["system:authenticated"],
    "system:discovery": ["system:authenticated"],
    "system:public-info-viewer": ["system:authenticated", "system:unauthenticated"],
}


def store_first_roles(registry: Registry) -> None:
    """Store the roles and bindings that every cluster begins with."""
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    for name, rules in _ROLES.items():
        metadata: Document = {"name": name, "labels": labels}
        common: Document = {"apiVersion": f"{RBAC}/v1", "metadata": metadata}
        registry.create("clusterroles", {"kind": "ClusterRole", **common, "rules": rules})
        subjects = [{"kind": "Group", "apiGroup": RBAC, "name": one} for one in _BOUND[name]]
        reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
        binding = {"kind": "ClusterRoleBinding", **common, "subjects": subjects}
        registry.create("clusterrolebindings", {**binding, "roleRef": reference})


@dataclass(frozen=True)
class Verdict:
    """Whether a request is allowed; `trouble` names the roles that bindings miss."""

    allowed: bool
    trouble: str = ""


def judge(registry: Registry, user: User, asked: RequestInfo) -> Verdict:
    """Say whether the stored rules let a user do what was asked."""
    missing: list[str] = []
    for rule in rules(registry, user, asked.namespace, missing):
        if _covers(rule, asked):
            return Verdict(allowed=True)
    if len(missing) > 1:
        return Verdict(allowed=False, trouble=f"RBAC: [{', '.join(missing)}]")
    return Verdict(allowed=False, trouble=f"RBAC: {missing[0]}" if missing else "")


def require(registry: Registry, user: User, asked: RequestInfo) -> None:
    """Raise the 403 ApiError unless a user may do what was asked."""
    verdict = judge(registry, user, asked)
    if not verdict.allowed:
        said = _refusal(user, asked) + (f": {verdict.trouble}" if verdict.trouble else "")
        raise forbidden(asked.group, asked.resource, asked.name, said)


def rules(
    registry: Registry, user: User, namespace: str, missing: list[str] | None = None
) -> Iterator[Document]:
    """Yield the rules a user has in a namespace ("": at the cluster scope).

    Roles that are bound but not there are named in `missing`.
    """
    bindings = [*registry.all("clusterrolebindings")]
    bindings += registry.all("rolebindings", namespace) if namespace else ()
    for binding in bindings:
        where = binding["metadata"].get("namespace", "")
        if not any(_is_meant(one, user, where) for one in binding.get("subjects") or ()):
            continue
        reference = binding["roleRef"]
        plural, within = ("roles", where) if reference["kind"] == "Role" else ("clusterroles", "")
        role = registry.get(plural, within, reference["name"])
        if role is not None:
            yield from role.get("rules") or ()
        elif missing is not None:
            kind = reference["kind"].lower()
            missing.append(f'{kind}.{RBAC} "{reference["name"]}" not found')


def _is_meant(subject: Document, user: User, namespace: str) -> bool:
    kind, name = subject["kind"], subject["name"]
    if kind == "User":
        return bool(name == user.name)
    if kind == "Group":
        return name in user.groups
    full = f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
    return kind == "ServiceAccount" and full == user.name


def _covers(rule: Document, asked: RequestInfo) -> bool:
    if not _matches(rule.get("verbs"), asked.verb):
        return False
    if not asked.resource:
        return any(_covers_path(url, asked.path) for url in rule.get("nonResourceURLs") or ())
    names: Sequence[str] = rule.get("resourceNames") or ()
    return (
        _matches(rule.get("apiGroups"), asked.group)
        and _covers_resource(rule.get("resources") or (), asked)
        and (not names or asked.name in names)
    )


def _matches(listed: Any, wanted: str) -> bool:  # noqa: ANN401  (as it was stored)
    return wanted in (listed or ()) or _ANY in (listed or ())


def _covers_resource(resources: Sequence[str], asked: RequestInfo) -> bool:
    if _matches(resources, asked.full_resource):
        return True
    return bool(asked.subresource) and f"*/{asked.subresource}" in resources


def _covers_path(url: str, path: str) -> bool:
    return url == path or (url.endswith(_ANY) and path.startswith(url[:-1]))


def _refusal(user: User, asked: RequestInfo) -> str:
    who = f'User "{user.name}" cannot {asked.verb}'
    if not asked.resource:
        return f'{who} path "{asked.path}"'
    what = f'resource "{asked.full_resource}" in API group "{asked.group}"'
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    return f"{who} {what} {where}"
