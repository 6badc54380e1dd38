"""Which node a pod fits on. Pure: documents in, a name or a message out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kgpud.localcluster import quantity
from kgpud.localcluster.registry import Document

GPU = "nvidia.com/gpu"
_FINISHED = ("Succeeded", "Failed")
_HARD = ("NoSchedule", "NoExecute")
# What a cordoned node counts as tainted with.
_CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class UnschedulableError(Exception):
    """No node fits; the text is the PodScheduled condition's message."""


def requests(spec: Mapping[str, Any]) -> Counter[str]:
    """Return what a pod asks of its node, in thousandths; a limit stands in for a request."""
    total: Counter[str] = Counter({"pods": 1000})
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        for name, amount in asked.items():
            total[name] += quantity.thousandths(amount)
    return total


class Room(NamedTuple):
    """A node, and what is still free on it, in thousandths."""

    node: Document
    free: Counter[str]

    @property
    def name(self) -> str:
        """The node's name."""
        return str(self.node["metadata"]["name"])


def gpus(container: Mapping[str, Any]) -> int:
    """Return how many GPUs one container asks for."""
    return requests({"containers": [container]})[GPU] // 1000


def rooms(nodes: Iterable[Document], pods: Iterable[Document]) -> list[Room]:
    """Return the nodes with what all `pods` that are on them and have not finished leave free."""
    used: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node and pod["status"].get("phase") not in _FINISHED:
            used[node].update(requests(pod["spec"]))
    return [Room(node, _free(node, used[node["metadata"]["name"]])) for node in nodes]


def place(pod: Document, nodes: Sequence[Room]) -> str:
    """Return the name of the node with the most room that fits, and take that room.

    UnschedulableError if there is none.
    """
    wanted = requests(pod["spec"])
    reasons: Counter[str] = Counter()
    helpless = 0
    fitting = []
    for room in nodes:
        if reason := _unfit(pod["spec"], room.node):
            reasons[reason] += 1
            helpless += 1
            continue
        lacking = [_lack(name) for name in sorted(wanted) if room.free[name] < wanted[name]]
        reasons.update(lacking)
        if not lacking:
            fitting.append(room)
    if not fitting:
        raise UnschedulableError(_message(len(nodes), reasons, helpless))
    best = min(fitting, key=lambda room: (-room.free[GPU], -room.free["memory"], room.name))
    best.free.subtract(wanted)
    return best.name


def _unfit(spec: Mapping[str, Any], node: Document) -> str | None:
    """Return why no pod that went would make room here, in the words of the filter that says so."""
    tolerations = spec.get("tolerations") or []
    if node["spec"].get("unschedulable") and not _tolerated(_CORDON, tolerations):
        return "node(s) were unschedulable"
    hard = (one for one in node["spec"].get("taints") or [] if one["effect"] in _HARD)
    if not all(_tolerated(taint, tolerations) for taint in hard):
        return "node(s) had untolerated taint(s)"
    if not _selected(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    return None


def _tolerated(taint: Mapping[str, Any], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        one.get("effect") in (None, "", taint["effect"])
        and one.get("key") in (None, "", taint["key"])
        and (
            one.get("operator") == "Exists"
            or (bool(one.get("key")) and (one.get("value") or "") == (taint.get("value") or ""))
        )
        for one in tolerations
    )


def _lack(resource: str) -> str:
    return "Too many pods" if resource == "pods" else f"Insufficient {resource}"


def _free(node: Document, used: Counter[str]) -> Counter[str]:
    room: Counter[str] = Counter()
    for name, amount in node["status"]["allocatable"].items():
        room[name] = quantity.thousandths(amount) - used[name]
    return room


def _message(count: int, reasons: Counter[str], helpless: int) -> str:
    said = ", ".join(sorted(f"{number} {reason}" for reason, number in reasons.items()))
    parts = [f"{count - helpless} No preemption victims found for incoming pod"] * (
        count > helpless
    )
    if set(reasons) == {_lack(GPU)}:
        parts = [f"{count} Preemption is not helpful for scheduling"]
    elif helpless:
        parts.append(f"{helpless} Preemption is not helpful for scheduling")
    head = f"0/{count} nodes are available: {said}. no new claims to deallocate"
    return f"{head}, preemption: 0/{count} nodes are available: {', '.join(parts)}."


def _selected(spec: Mapping[str, Any], node: Document) -> bool:
    labels = node["metadata"].get("labels") or {}
    selector = spec.get("nodeSelector") or {}
    if any(labels.get(name) != value for name, value in selector.items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(
        all(_expression(one, labels) for one in term.get("matchExpressions") or [])
        for term in required.get("nodeSelectorTerms") or []
    )


def _expression(one: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(one["key"])
    operator: str = one.get("operator", "")
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (operator == "Exists")
    values: list[str] = one.get("values") or []
    return (value in values) == (operator == "In")
