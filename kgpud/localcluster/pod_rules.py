"""What a pod must and must not say, when it is new and when it is changed."""

import difflib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from kgpud.localcluster import quantity, source_rules
from kgpud.localcluster.errors import (
    Cause,
    duplicate,
    not_allowed,
    required,
    unsupported,
    wrong,
)
from kgpud.localcluster.names import label_trouble
from kgpud.localcluster.registry import Document

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_FRACTIONAL = ("cpu", "memory", "ephemeral-storage", "storage", "hugepages-")
_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)
# What would otherwise be left out without a word.
_NOT_HERE = "this local cluster can't do that"
# How Go writes the fields that don't merely begin with a capital letter.
_GO_NAMES = {"dnsPolicy": "DNSPolicy", "dnsConfig": "DNSConfig"}


def causes(pod: Document) -> Iterator[Cause]:
    """Yield what is wrong with a new pod, defaults included."""
    spec = pod["spec"]
    volumes = [volume.get("name", "") for volume in spec.get("volumes") or []]
    yield from _name_causes("spec.volumes", volumes)
    for number, volume in enumerate(spec.get("volumes") or []):
        yield from source_rules.volume_causes(f"spec.volumes[{number}]", volume)
    yield from source_rules.affinity_causes("spec.affinity", spec.get("affinity") or {})
    if spec.get("initContainers"):
        yield not_allowed("spec.initContainers", _NOT_HERE)
    if not spec.get("containers"):
        yield required("spec.containers")
    containers = spec.get("containers") or []
    yield from _name_causes("spec.containers", [one.get("name", "") for one in containers])
    for number, container in enumerate(containers):
        yield from _container_causes(f"spec.containers[{number}]", container, volumes)
    if spec["restartPolicy"] not in _RESTART_POLICIES:
        yield unsupported("spec.restartPolicy", spec["restartPolicy"], _RESTART_POLICIES)
    grace = spec["terminationGracePeriodSeconds"]
    if grace < 0:
        words = "must be greater than or equal to 0"
        yield wrong("spec.terminationGracePeriodSeconds", grace, words)


def _name_causes(field: str, names: Sequence[str]) -> Iterator[Cause]:
    """Yield what is wrong with names; a volume's becomes a folder's here, so this matters."""
    for number, name in enumerate(names):
        where = f"{field}[{number}].name"
        if not name:
            yield required(where)
        elif words := label_trouble(name):
            yield wrong(where, name, words)
        elif name in names[:number]:
            yield duplicate(where, name)


def _container_causes(where: str, container: Document, volumes: Sequence[str]) -> Iterator[Cause]:
    if not container.get("image"):
        yield required(f"{where}.image")
    if container["imagePullPolicy"] not in _PULL_POLICIES:
        policy = container["imagePullPolicy"]
        yield unsupported(f"{where}.imagePullPolicy", policy, _PULL_POLICIES)
    yield from source_rules.env_causes(where, container)
    yield from source_rules.container_port_causes(where, container)
    yield from _resource_causes(f"{where}.resources", container["resources"])
    for number, mount in enumerate(container.get("volumeMounts") or []):
        at = f"{where}.volumeMounts[{number}]"
        yield from _mount_causes(at, mount, volumes)
    if container.get("workingDir"):
        yield from _path_causes(f"{where}.workingDir", container["workingDir"])
    for name in ("readinessProbe", "livenessProbe", "startupProbe"):
        yield from source_rules.probe_causes(f"{where}.{name}", container.get(name))


def _mount_causes(where: str, mount: Document, volumes: Sequence[str]) -> Iterator[Cause]:
    name = mount.get("name", "")
    if not name:
        yield required(f"{where}.name")
    if name not in volumes:
        yield Cause(f"{where}.name", "FieldValueNotFound", f'Not found: "{name}"')
    for field in ("subPath", "subPathExpr"):
        if mount.get(field):
            yield not_allowed(f"{where}.{field}", _NOT_HERE)
    if not mount.get("mountPath"):
        yield required(f"{where}.mountPath")
    else:
        yield from _path_causes(f"{where}.mountPath", mount["mountPath"].rstrip("/"))


def _path_causes(field: str, path: str) -> Iterator[Cause]:
    """Stricter than Kubernetes: here a path must be absolute and can't leave the pod's root."""
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        yield wrong(field, path, "must be an absolute path without '..'")


def _resource_causes(where: str, resources: Document) -> Iterator[Cause]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for which, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            yield from _amount_causes(f"{where}.{which}[{name}]", name, amount)
    for name, amount in requests.items():
        limit, is_extended = limits.get(name), not name.startswith(_FRACTIONAL)
        if limit is None and is_extended:
            yield required(f"{where}.limits", "Limit must be set for non overcommitable resources")
        if limit is None:
            continue
        asked, most = quantity.thousandths(amount), quantity.thousandths(limit)
        if is_extended and asked != most:
            words = f"must be equal to {name} limit of {limit}"
            yield wrong(f"{where}.requests", str(amount), words)
        elif asked > most:
            words = f"must be less than or equal to {name} limit of {limit}"
            yield wrong(f"{where}.requests", str(amount), words)


def _amount_causes(field: str, name: str, amount: object) -> Iterator[Cause]:
    value = quantity.thousandths(amount)
    if value < 0:
        yield wrong(field, str(amount), "must be greater than or equal to 0")
    if not name.startswith(_FRACTIONAL) and value % 1000:
        yield wrong(field, str(amount), "must be an integer")


def change_causes(before: Document, after: Document) -> Iterator[Cause]:
    """Yield what a change may not change of a pod that is there."""
    old, new = before["spec"], after["spec"]
    for which in ("containers", "initContainers"):
        if len(old.get(which) or ()) != len(new.get(which) or ()):
            yield not_allowed(f"spec.{which}", "pod updates may not add or remove containers")
            return
    if _held(old) != _held(new) or _gone(old, new):
        yield not_allowed("spec", f"{_MAY_CHANGE}\n{_difference(old, new)}")


def _held(spec: Document) -> Document:
    """Return what of a spec no change may touch."""
    kept = {key: one for key, one in spec.items() if key != "activeDeadlineSeconds"}
    kept.pop("tolerations", None)
    for which in ("containers", "initContainers"):
        if which in kept:
            kept[which] = [{**container, "image": ""} for container in kept[which]]
    return kept


def _gone(old: Document, new: Document) -> bool:
    kept = new.get("tolerations") or []
    return any(one not in kept for one in old.get("tolerations") or [])


def _difference(old: Document, new: Document) -> str:
    """Return the unified difference of two specs, as nearly as Go's own fields allow."""
    before, after = (
        json.dumps(_go(spec), indent=1, sort_keys=True).splitlines() for spec in (old, new)
    )
    found = list(difflib.unified_diff(before, after, lineterm=""))[2:]
    return "".join(f"{line}\n" for line in found)


def _go(value: Any) -> Any:  # noqa: ANN401  (any JSON)
    if isinstance(value, list):
        return [_go(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {_GO_NAMES.get(key, key[:1].upper() + key[1:]): _go(one) for key, one in value.items()}
