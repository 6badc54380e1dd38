"""What each kind gets as defaults, and what it must and must not say: one table."""

import base64
import ipaddress
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from kgpud.localcluster import pod_rules, pod_spec
from kgpud.localcluster.errors import Cause, invalid, required, unsupported, wrong
from kgpud.localcluster.kinds import RBAC, Kind
from kgpud.localcluster.names import label_key_causes, metadata_causes
from kgpud.localcluster.registry import Document

_MOST_DATA = 1 << 20
_TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_CIDR_RULE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def _same(document: Document) -> Document:
    return document


def _nothing(_document: Document) -> Iterable[Cause]:
    return ()


def _no_change(_before: Document, _after: Document) -> Iterable[Cause]:
    return ()


@dataclass(frozen=True)
class Rules:
    """One kind's: `complete` returns an object with its defaults, the others yield causes."""

    complete: Callable[[Document], Document] = _same
    causes: Callable[[Document], Iterable[Cause]] = _nothing
    change_causes: Callable[[Document, Document], Iterable[Cause]] = _no_change


def completed(kind: Kind, document: Document) -> Document:
    """Return a new or changed object with its defaults."""
    return RULES.get(kind.plural, Rules()).complete(document)


def require_valid(kind: Kind, document: Document, before: Document | None = None) -> None:
    """Raise the 422 ApiError that names all that is wrong with a new or a changed object."""
    rules = RULES.get(kind.plural, Rules())
    causes = [*metadata_causes(kind.name, document), *rules.causes(document)]
    if before is not None:
        causes += rules.change_causes(before, document)
    if causes:
        raise invalid(kind.name, document["metadata"].get("name", ""), causes, kind.group)


def _complete_secret(secret: Document) -> Document:
    """Move stringData into data, as the API server stores it."""
    data = dict(secret.get("data") or {})
    for key, value in (secret.get("stringData") or {}).items():
        data[key] = base64.b64encode(value.encode()).decode()
    kept = {key: value for key, value in secret.items() if key not in ("stringData", "data")}
    return {**kept, **({"data": data} if data else {}), "type": secret.get("type") or "Opaque"}


def _data_causes(document: Document) -> Iterator[Cause]:
    size = sum(len(value) for value in (document.get("data") or {}).values())
    if document["kind"] == "Secret":
        size = size * 3 // 4
    if size > _MOST_DATA:
        words = f"Too long: may not be more than {_MOST_DATA} bytes"
        yield Cause("data", "FieldValueTooLong", words)


def _secret_change(before: Document, after: Document) -> Iterator[Cause]:
    if before["type"] != after["type"]:
        yield wrong("type", after["type"], "field is immutable")
    if before.get("immutable") and before.get("data") != after.get("data"):
        words = "Forbidden: field is immutable when `immutable` is set"
        yield Cause("data", "FieldValueForbidden", words)


def _complete_namespace(namespace: Document) -> Document:
    metadata = namespace["metadata"]
    name = metadata.get("name") or ""
    labels = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": name}
    return {
        **namespace,
        "metadata": {**metadata, "labels": labels},
        "spec": {"finalizers": ["kubernetes"]},
        "status": namespace.get("status") or {"phase": "Active"},
    }


def _complete_node(node: Document) -> Document:
    return {**node, "spec": node.get("spec") or {}}


def _node_causes(node: Document) -> Iterator[Cause]:
    """Yield what is wrong with a node's taints; that they stand in metadata is Kubernetes' word."""
    for at, taint in enumerate(node["spec"].get("taints") or []):
        where, effect = f"metadata.taints[{at}]", taint.get("effect", "")
        yield from label_key_causes(f"{where}.key", taint.get("key", ""))
        if not effect:
            yield required(f"{where}.effect")
        elif effect not in _TAINT_EFFECTS:
            yield unsupported(f"{where}.effect", effect, _TAINT_EFFECTS)


def _complete_policy(policy: Document) -> Document:
    spec = dict(policy.get("spec") or {})
    spec.setdefault("podSelector", {})
    kinds = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    spec.setdefault("policyTypes", kinds)
    for rule in [*(spec.get("ingress") or []), *(spec.get("egress") or [])]:
        for port in rule.get("ports") or []:
            port.setdefault("protocol", "TCP")
    return {**policy, "spec": spec}


def _policy_causes(policy: Document) -> Iterator[Cause]:
    spec = policy["spec"]
    for way, peers in (("ingress", "from"), ("egress", "to")):
        for at, rule in enumerate(spec.get(way) or []):
            for number, peer in enumerate(rule.get(peers) or []):
                yield from _peer_causes(f"spec.{way}[{at}].{peers}[{number}]", peer)
    for at, kind in enumerate(spec["policyTypes"]):
        if kind not in ("Ingress", "Egress"):
            yield unsupported(f"spec.policyTypes[{at}]", kind, ("Ingress", "Egress"))


def _peer_causes(where: str, peer: Document) -> Iterator[Cause]:
    if not peer:
        yield required(where, "must specify a peer")
    block = peer.get("ipBlock")
    if block is None:
        return
    if len(peer) > 1:
        words = "may not specify both ipBlock and another peer"
        yield Cause(where, "FieldValueForbidden", f"Forbidden: {words}")
    field, text = f"{where}.ipBlock.cidr", block.get("cidr", "")
    if not text:
        yield required(field)
        return
    network = _network(text)
    if network is None:
        yield wrong(field, text, _CIDR_RULE)
    for number, inner in enumerate(block.get("except") or []):
        yield from _except_causes(f"{where}.ipBlock.except[{number}]", inner, network)


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _except_causes(field: str, text: str, outer: _Network | None) -> Iterator[Cause]:
    inner = _network(text)
    if inner is None:
        yield wrong(field, text, _CIDR_RULE)
    elif outer is not None and not (
        inner.version == outer.version
        and inner.prefixlen > outer.prefixlen
        and inner.network_address in outer
    ):
        yield wrong(field, text, f"must be a strict subset of `cidr`: {outer}")


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _role_causes(role: Document) -> Iterator[Cause]:
    for at, rule in enumerate(role.get("rules") or []):
        where = f"rules[{at}]"
        if not rule.get("verbs"):
            yield required(f"{where}.verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            if role["kind"] == "Role":
                words = "namespaced rules cannot apply to non-resource URLs"
                yield wrong(f"{where}.nonResourceURLs", rule["nonResourceURLs"], words)
            continue
        for field, words in (
            ("apiGroups", "resource rules must supply at least one api group"),
            ("resources", "resource rules must supply at least one resource"),
        ):
            if not rule.get(field):
                yield required(f"{where}.{field}", words)


def _complete_binding(binding: Document) -> Document:
    reference = dict(binding.get("roleRef") or {})
    if not reference.get("apiGroup"):
        reference["apiGroup"] = RBAC
    subjects = [dict(one) for one in binding.get("subjects") or []]
    for subject in subjects:
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", RBAC)
    completed = {**binding, "roleRef": reference}
    return {**completed, "subjects": subjects} if subjects else completed


def _binding_causes(binding: Document) -> Iterator[Cause]:
    reference = binding["roleRef"]
    kinds = ("Role", "ClusterRole") if binding["kind"] == "RoleBinding" else ("ClusterRole",)
    if reference.get("kind") not in kinds:
        yield unsupported("roleRef.kind", reference.get("kind", ""), kinds)
    if not reference.get("name"):
        yield required("roleRef.name")
    known = ("ServiceAccount", "User", "Group")
    for at, subject in enumerate(binding.get("subjects") or []):
        if not subject.get("name"):
            yield required(f"subjects[{at}].name")
        if subject.get("kind") not in known:
            yield unsupported(f"subjects[{at}].kind", subject.get("kind", ""), known)
        elif _lacks_namespace(binding["kind"], subject):
            yield required(f"subjects[{at}].namespace")


def _lacks_namespace(binding: str, subject: Document) -> bool:
    is_account = subject["kind"] == "ServiceAccount" and binding == "ClusterRoleBinding"
    return is_account and not subject.get("namespace")


def _binding_change(before: Document, after: Document) -> Iterator[Cause]:
    if before["roleRef"] != after["roleRef"]:
        yield wrong("roleRef", after["roleRef"], "cannot change roleRef")


_ROLE = Rules(causes=_role_causes)
_BINDING = Rules(_complete_binding, _binding_causes, _binding_change)
RULES = {
    "pods": Rules(pod_spec.complete, pod_rules.causes, pod_rules.change_causes),
    "configmaps": Rules(causes=_data_causes),
    "secrets": Rules(_complete_secret, _data_causes, _secret_change),
    "namespaces": Rules(_complete_namespace),
    "nodes": Rules(_complete_node, _node_causes),
    "networkpolicies": Rules(_complete_policy, _policy_causes),
    "roles": _ROLE,
    "clusterroles": _ROLE,
    "rolebindings": _BINDING,
    "clusterrolebindings": _BINDING,
}
