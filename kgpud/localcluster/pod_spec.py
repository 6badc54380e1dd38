"""The defaults that the API server writes into a new pod, and its first status."""

import copy
from collections.abc import Mapping
from typing import Any

from kgpud.localcluster.registry import Document

_DEFAULTS: Document = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "serviceAccountName": "default",
    "securityContext": {},
    "schedulerName": "default-scheduler",
    "priority": 0,
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
}
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_TOLERATED_SECONDS = 300
_WITH_MODE = ("secret", "configMap", "downwardAPI", "projected")
_MODE = 0o644


def complete(pod: Document) -> Document:
    """Return a copy of a new pod with defaults and its first status; what it said of that goes."""
    pod = copy.deepcopy(pod)
    pod["metadata"]["generation"] = 1
    spec = pod.setdefault("spec", {})
    for container in _containers(spec):
        _complete_container(container)
    for volume in spec.get("volumes") or []:
        _complete_volume(volume)
    for key, value in _DEFAULTS.items():
        spec.setdefault(key, copy.deepcopy(value))
    spec["serviceAccount"] = spec["serviceAccountName"]
    spec["tolerations"] = _tolerations(spec.get("tolerations") or [])
    pod["status"] = {"phase": "Pending", "qosClass": _quality(spec)}
    return pod


def _containers(spec: Document) -> list[Document]:
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def _complete_container(container: Document) -> None:
    resources = container.setdefault("resources", {})
    if limits := resources.get("limits"):
        resources["requests"] = {**limits, **(resources.get("requests") or {})}
    for probe in (container[name] for name in _PROBES if name in container):
        for key, value in _PROBE.items():
            probe[key] = probe.get(key) or value
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or []:
        if reference := (variable.get("valueFrom") or {}).get("fieldRef"):
            reference.setdefault("apiVersion", "v1")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    _name, _sign, tag = container.get("image", "").rpartition("/")[2].partition(":")
    policy = "Always" if tag in ("", "latest") else "IfNotPresent"
    container.setdefault("imagePullPolicy", policy)


def _complete_volume(volume: Document) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for source in (volume[name] for name in _WITH_MODE if name in volume):
        source.setdefault("defaultMode", _MODE)


def _tolerations(given: list[Document]) -> list[Document]:
    """Add what the DefaultTolerationSeconds admission adds, where nothing says otherwise."""
    added = []
    for name in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{name}"
        if not any(
            one.get("key") in (None, "", key) and one.get("effect") in (None, "", "NoExecute")
            for one in given
        ):
            rest = {"effect": "NoExecute", "tolerationSeconds": _TOLERATED_SECONDS}
            added.append({"key": key, "operator": "Exists", **rest})
    return [*given, *added]


def _quality(spec: Mapping[str, Any]) -> str:
    kinds = ("cpu", "memory")
    resources = [container["resources"] for container in spec.get("containers") or []]
    asked = [one.get("requests") or {} for one in resources]
    if not any(kind in one for one in asked for kind in kinds):
        return "BestEffort"
    limits = [one.get("limits") or {} for one in resources]
    same = all(
        kind in limit and limit[kind] == ask.get(kind)
        for limit, ask in zip(limits, asked, strict=True)
        for kind in kinds
    )
    return "Guaranteed" if same else "Burstable"
