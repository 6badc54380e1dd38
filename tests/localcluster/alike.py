"""Answers of two clusters made alike: what is each one's own is made the same, and nothing else."""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from typing import Any

from .clusters import Document

UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
# What is this cluster's or that one's own: only that it is there is compared.
OWN = frozenset(
    {
        "resourceVersion",
        "serverAddress",
        "gitCommit",
        "goVersion",
        "compiler",
        "containerID",
        "imageID",
        "hostIP",
        "podIP",
        "ip",
        "reportingInstance",
        "description",
    }
)
# A node's own hardware, software and images. What of it matters is in test_fleet.
NODE_OWN = (
    "annotations", "daemonEndpoints", "declaredFeatures", "features", "images", "labels",
    "nodeInfo", "runtimeHandlers", "capacity", "allocatable", "addresses",
)  # fmt: skip

# What the kubelet writes of a pod without limits once it has looked at its cgroup.
NO_LIMIT = {"limits": {"memory": "9007199254740988Ki"}}


def normal(value: Any) -> Any:
    """Return JSON with uids, times, versions and a cluster's own data made the same."""
    if isinstance(value, list):
        return [normal(one) for one in value if not _is_account_volume(one)]
    if value == NO_LIMIT:
        return {}
    if isinstance(value, dict):
        if "nodeInfo" in value or "nodeInfo" in value.get("status", ()):
            value = _without_own(value)
        shown = {key: _normal_field(key, one) for key, one in value.items()}
        return {key: one for key, one in shown.items() if one not in ([], None) or key == "items"}
    if isinstance(value, str):
        return TIME.sub("TIME", UID.sub("UID", value))
    return value


def _without_own(node: Document) -> Document:
    """Take out of a node, or its status, what is its own."""
    metadata = {key: one for key, one in node.get("metadata", {}).items() if key not in NODE_OWN}
    kept = {key: one for key, one in node.items() if key not in NODE_OWN}
    return {**kept, **({"metadata": metadata} if metadata else {})}


def _normal_field(key: str, value: Any) -> Any:
    if key in OWN:
        return key.upper()
    return _FIELDS.get(key, normal)(value)


def _token(value: str) -> Any:
    fields = json.loads(urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    return {**fields, "rv": "VERSION"}


def _message(value: str) -> Any:
    if "@@" in value:
        # Go shows its own structure around a change; the change itself must be the same.
        return [line for line in value.splitlines() if not line.startswith((" ", "@@"))]
    if "too old resource version" in value:
        value = re.sub(r"\(\d+\)", "(OLDEST)", value)
    return normal(value)


def _cells(value: list[Any]) -> list[str]:
    return [re.sub(r"^\d+m?\d*s$|^10\.\d+\.\d+\.\d+$", "OWN", str(cell)) for cell in value]


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "cells": _cells,
    "continue": _token,
    "message": _message,
    "name": lambda name: re.sub(r"^a1\.[0-9a-f]+$", "a1.EVENT", name),
    "source": lambda source: {**source, "host": "HOST"} if "host" in source else source,
}


def differences(here: Any, recorded: Any, where: str = "") -> Iterator[str]:
    """Yield a line for each place where two JSON values differ."""
    if isinstance(here, dict) and isinstance(recorded, dict):
        for key in sorted(here.keys() | recorded.keys()):
            at = f"{where}.{key}"
            yield from differences(here.get(key, "absent"), recorded.get(key, "absent"), at)
    elif isinstance(here, list) and isinstance(recorded, list) and len(here) == len(recorded):
        for number, (one, other) in enumerate(zip(here, recorded, strict=True)):
            yield from differences(one, other, f"{where}[{number}]")
    elif here != recorded:
        yield f"{where}: {here!r} here, {recorded!r} recorded"


def _is_account_volume(value: Any) -> bool:
    """Whether it is of the service account's token: pods here are given none."""
    return isinstance(value, dict) and str(value.get("name")).startswith("kube-api-access-")
