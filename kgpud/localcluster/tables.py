"""The rows that `kubectl get` prints, column by column as the API server fills them."""

import calendar
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kgpud.localcluster.registry import Document

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_YEAR = 365 * _DAY


@dataclass(frozen=True)
class _Column:
    """One column; a wide one is shown by `-o wide` alone."""

    name: str
    cell: Callable[[Document], Any]
    wide: bool = False
    type_: str = "string"


def columns(plural: str) -> list[Document]:
    """Return the definitions of a kind's columns."""
    return [
        {
            "name": column.name,
            "type": column.type_,
            "format": "name" if column.name == "Name" else "",
            "description": "",
            "priority": int(column.wide),
        }
        for column in _COLUMNS.get(plural, _PLAIN)
    ]


def cells(plural: str, document: Document) -> list[Any]:
    """Return what stands in an object's row."""
    return [column.cell(document) for column in _COLUMNS.get(plural, _PLAIN)]


def age(created: str | None) -> str:
    """Return how long ago a time was, as short as kubectl says it (`87s`, `3m5s`, `2d3h`)."""
    if not created:
        return "<unknown>"
    moment = calendar.timegm(time.strptime(created[:19], "%Y-%m-%dT%H:%M:%S"))
    seconds = max(int(time.time() - moment), 0)
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < 3 * _HOUR:
        return _two(seconds, _MINUTE, "m", 1, "s", until=10 * _MINUTE)
    if seconds < 2 * _DAY:
        return _two(seconds, _HOUR, "h", _MINUTE, "m", until=8 * _HOUR)
    if seconds < 2 * _YEAR:
        return _two(seconds, _DAY, "d", _HOUR, "h", until=8 * _DAY)
    return _two(seconds, _YEAR, "y", _DAY, "d", until=8 * _YEAR)


def _two(seconds: int, unit: int, name: str, lesser: int, lesser_name: str, *, until: int) -> str:
    rest = seconds % unit // lesser
    more = f"{rest}{lesser_name}" if rest and seconds < until else ""
    return f"{seconds // unit}{name}{more}"


def _at(*path: str) -> Callable[[Document], Any]:
    """Return a cell that reads one field, `<none>` where it is empty."""

    def read(document: Document) -> Any:  # noqa: ANN401  (any JSON)
        value: Any = document
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return "<none>" if value in (None, "") else value

    return read


def _containers(pod: Document) -> list[Document]:
    return pod["status"].get("containerStatuses") or []


def _pod_ready(pod: Document) -> str:
    good = sum(bool(container["ready"]) for container in _containers(pod))
    return f"{good}/{len(pod['spec']['containers'])}"


def _pod_restarts(pod: Document) -> str:
    count = sum(container["restartCount"] for container in _containers(pod))
    ends = [
        one["lastState"].get("terminated", {}).get("finishedAt") or "" for one in _containers(pod)
    ]
    return f"{count} ({age(max(ends))} ago)" if count and any(ends) else str(count)


def _pod_state(pod: Document) -> str:
    said = str(pod["status"].get("reason") or pod["status"]["phase"])
    for container in _containers(pod):
        for name, state in container["state"].items():
            if state.get("reason"):
                said = str(state["reason"])
            elif name == "terminated":
                said = f"ExitCode:{state['exitCode']}"
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    return said


def _node_state(node: Document) -> str:
    conditions = node["status"].get("conditions") or []
    ready = next((one["status"] for one in conditions if one["type"] == "Ready"), None)
    said = {"True": "Ready", None: "Unknown"}.get(ready, "NotReady")
    return f"{said},SchedulingDisabled" if node["spec"].get("unschedulable") else said


def _address(kind: str) -> Callable[[Document], str]:
    def read(node: Document) -> str:
        listed = node["status"].get("addresses") or []
        return next((str(one["address"]) for one in listed if one["type"] == kind), "<none>")

    return read


def _event_seen(event: Document) -> str:
    seen = event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp")
    return age(seen)


def _event_object(event: Document) -> str:
    involved = event.get("involvedObject") or {}
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _selector(policy: Document) -> str:
    labels = policy["spec"]["podSelector"].get("matchLabels") or {}
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items())) or "<none>"


def _role(binding: Document) -> str:
    return f"{binding['roleRef']['kind']}/{binding['roleRef']['name']}"


def _count(name: str) -> Callable[[Document], int]:
    return lambda document: len(document.get(name) or ())


_NAME = _Column("Name", _at("metadata", "name"))
_AGE = _Column("Age", lambda document: age(document["metadata"].get("creationTimestamp")))
_INFO = ("status", "nodeInfo")
_PLAIN = (_NAME, _AGE)
_BINDING = (_NAME, _Column("Role", _role), _AGE)
_COLUMNS: dict[str, tuple[_Column, ...]] = {
    "pods": (
        _NAME,
        _Column("Ready", _pod_ready),
        _Column("Status", _pod_state),
        _Column("Restarts", _pod_restarts),
        _AGE,
        _Column("IP", _at("status", "podIP"), wide=True),
        _Column("Node", _at("spec", "nodeName"), wide=True),
        _Column("Nominated Node", _at("status", "nominatedNodeName"), wide=True),
        _Column("Readiness Gates", lambda _pod: "<none>", wide=True),
    ),
    "nodes": (
        _NAME,
        _Column("Status", _node_state),
        _Column("Roles", lambda _node: "<none>"),
        _AGE,
        _Column("Version", _at(*_INFO, "kubeletVersion")),
        _Column("Internal-IP", _address("InternalIP"), wide=True),
        _Column("External-IP", _address("ExternalIP"), wide=True),
        _Column("OS-Image", _at(*_INFO, "osImage"), wide=True),
        _Column("Kernel-Version", _at(*_INFO, "kernelVersion"), wide=True),
        _Column("Container-Runtime", _at(*_INFO, "containerRuntimeVersion"), wide=True),
    ),
    "events": (
        _Column("Last Seen", _event_seen),
        _Column("Type", _at("type")),
        _Column("Reason", _at("reason")),
        _Column("Object", _event_object),
        _Column("Message", lambda event: str(event.get("message") or "").strip()),
        _Column("Count", lambda event: event.get("count") or 1, wide=True, type_="integer"),
        _Column("Name", _at("metadata", "name"), wide=True),
    ),
    "namespaces": (_NAME, _Column("Status", _at("status", "phase")), _AGE),
    "secrets": (
        _NAME,
        _Column("Type", _at("type")),
        _Column("Data", _count("data"), type_="integer"),
        _AGE,
    ),
    "configmaps": (_NAME, _Column("Data", _count("data"), type_="integer"), _AGE),
    "serviceaccounts": (_NAME, _Column("Secrets", _count("secrets"), type_="integer"), _AGE),
    "networkpolicies": (_NAME, _Column("Pod-Selector", _selector), _AGE),
    "roles": (_NAME, _Column("Created At", _at("metadata", "creationTimestamp"))),
    "clusterroles": (_NAME, _Column("Created At", _at("metadata", "creationTimestamp"))),
    "rolebindings": _BINDING,
    "clusterrolebindings": _BINDING,
}
