"""A pod as it was sent: checked, and given the defaults that the API server gives."""

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

from kgpud.localcluster import quantity, shapes
from kgpud.localcluster.errors import bad_request, invalid
from kgpud.localcluster.registry import Document

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_MAX_NAME = 253
_QUANTITY_RULE = (
    'Pod in version "v1" cannot be handled as a Pod: quantities must match the regular '
    "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_TOLERATIONS = [
    {
        "key": f"node.kubernetes.io/{name}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }
    for name in ("not-ready", "unreachable")
]


def parse_object(body: bytes, kind: str) -> Document:
    """Return the JSON object of a create request; a 400 ApiError when it is none of `kind`."""
    try:
        document = json.loads(body)
    except ValueError:
        text = body.decode(errors="replace")
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get "
            f"version/kind; json parse error: unexpected end of JSON input ({text[:100]})"
        ) from None
    if not isinstance(document, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {kind})")
    found = document.setdefault("kind", kind)
    if found != kind:
        raise bad_request(
            f'{found} in version "v1" cannot be handled as a {kind}: '
            f"converting (v1.{found}) to (core.{kind}): unknown conversion"
        )
    if not isinstance(document.get("metadata"), dict):
        document["metadata"] = {}
    cleaned: Document = shapes.without_nulls(document)
    return cleaned


def require_name(kind: str, name: object) -> None:
    """Raise the 422 ApiError that a missing or malformed object name gets."""
    if not name:
        words = "Required value: name or generateName is required"
        raise invalid(kind, "", "metadata.name", "FieldValueRequired", words)
    if not isinstance(name, str) or len(name) > _MAX_NAME or not _SUBDOMAIN.fullmatch(name):
        words = f'Invalid value: "{name}": {_NAME_RULE}'
        raise invalid(kind, str(name), "metadata.name", "FieldValueInvalid", words)


def complete(document: Document) -> Document:
    """Return a checked copy of a new pod with defaults and its first status."""
    document = copy.deepcopy(document)
    name = document["metadata"].get("name")
    require_name("Pod", name)
    shapes.check("Pod", document, shapes.POD)
    spec = document.get("spec") or {}
    if not spec.get("containers"):
        raise invalid("Pod", name, "spec.containers", "FieldValueRequired", "Required value")
    volumes = [volume["name"] for volume in spec.get("volumes") or []]
    shapes.check_names(name, volumes, "spec.volumes.name")
    for number, container in enumerate(spec["containers"]):
        _complete_container(name, container, f"spec.containers[{number}]")
    defaults = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "tolerations": _TOLERATIONS,
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    for key, value in defaults.items():
        spec.setdefault(key, copy.deepcopy(value))
    metadata = {**document["metadata"], "generation": 1}
    status = {"phase": "Pending", "qosClass": _quality(spec)}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status}


def _complete_container(pod: str, container: Document, where: str) -> None:
    for key in ("name", "image"):
        if not container.get(key):
            raise invalid("Pod", pod, f"{where}.{key}", "FieldValueRequired", "Required value")
    _complete_resources(container.setdefault("resources", {}))
    if probe := container.get("readinessProbe"):
        wanted = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1}
        for key, value in {**wanted, "failureThreshold": 3}.items():
            probe.setdefault(key, value)
    mounts = container.get("volumeMounts") or []
    targets = [mount["mountPath"].rstrip("/") for mount in mounts]
    shapes.check_paths(pod, targets, f"{where}.volumeMounts.mountPath")
    shapes.check_paths(pod, [container.get("workingDir") or "/"], f"{where}.workingDir")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    latest = ":" not in container["image"].rpartition("/")[2] or container["image"].endswith(
        ":latest"
    )
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")


def _complete_resources(resources: Document) -> None:
    for kind in ("limits", "requests"):
        for amount in (resources.get(kind) or {}).values():
            try:
                quantity.thousandths(amount)
            except ValueError:
                raise bad_request(_QUANTITY_RULE) from None
    if limits := resources.get("limits"):
        resources["requests"] = {**limits, **(resources.get("requests") or {})}


def _quality(spec: Mapping[str, Any]) -> str:
    kinds = ("cpu", "memory")
    resources = [container["resources"] or {} for container in spec["containers"]]
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
