"""Lists as the tables that `kubectl get` prints."""

import calendar
import time
from collections.abc import Sequence
from typing import Any

from kgpud.localcluster.registry import Document

_COLUMNS = {
    "pods": ("Name", "Ready", "Status", "Restarts", "Age", "IP", "Node"),
    "nodes": ("Name", "Status", "Roles", "Age", "Version"),
    "events": ("Last Seen", "Type", "Reason", "Object", "Message"),
    "secrets": ("Name", "Type", "Data", "Age"),
}
_WIDE = ("IP", "Node")


def wanted(accept: str) -> bool:
    """Whether a client asks for a table."""
    return "as=Table" in accept and "g=meta.k8s.io" in accept


def table(plural: str, documents: Sequence[Document], version: str) -> Document:
    """Return a meta.k8s.io/v1 Table of these objects."""
    names = _COLUMNS.get(plural, ("Name", "Age"))
    columns = [
        {
            "name": name,
            "type": "string",
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": int(name in _WIDE),
        }
        for name in names
    ]
    rows = [
        {
            "cells": [_cell(plural, name, document) for name in names],
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": document["metadata"],
            },
        }
        for document in documents
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": columns,
        "rows": rows,
    }


def _cell(plural: str, column: str, document: Document) -> str:
    if column == "Name":
        return str(document["metadata"]["name"])
    if column == "Age":
        return _age(document["metadata"]["creationTimestamp"])
    if plural in ("pods", "events"):
        return (_pod_cell if plural == "pods" else _event_cell)(column, document)
    if plural == "nodes":
        info = document["status"]["nodeInfo"]
        cells = {"Status": "Ready", "Roles": "<none>", "Version": str(info["kubeletVersion"])}
        return cells[column]
    return str(document.get("type") if column == "Type" else len(document.get("data") or {}))


def _event_cell(column: str, event: Document) -> str:
    involved = event["involvedObject"]
    cells = {
        "Last Seen": _age(event["metadata"]["creationTimestamp"]),
        "Object": f"{involved['kind'].lower()}/{involved['name']}",
    }
    return cells.get(column) or str(event[column.lower()])


def _pod_cell(column: str, pod: Document) -> str:
    status = pod["status"]
    containers: list[dict[str, Any]] = status.get("containerStatuses") or []
    if column == "Ready":
        good = sum(bool(container["ready"]) for container in containers)
        return f"{good}/{len(pod['spec']['containers'])}"
    if column == "Restarts":
        return str(sum(container["restartCount"] for container in containers))
    if column in ("IP", "Node"):
        return str(
            (status.get("podIP") if column == "IP" else pod["spec"].get("nodeName")) or "<none>"
        )
    return _pod_state(pod, containers)


def _pod_state(pod: Document, containers: list[dict[str, Any]]) -> str:
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    for container in containers:
        for state in container["state"].values():
            if "reason" in state:
                return str(state["reason"])
    return str(pod["status"]["phase"])


def _age(created: str) -> str:
    seconds = int(time.time() - calendar.timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ")))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
