"""The types of the fields that this cluster reads; anything else in an object is stored unread.

A shape is a type or a tuple of types, a list of one shape, or a dict of fields: a name with `!`
must be there, and `*` stands for every name.
"""

import re
from typing import Any

from kgpud.localcluster.errors import bad_request, invalid

_AMOUNT = (str, int, float)
_TEXTS = {"*": str}
_AMOUNTS = {"*": _AMOUNT}
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_REFERENCE = {"name!": str, "key": str, "optional": bool}
_EXPRESSION = {"key!": str, "operator!": str, "values": [str]}
_TERMS = {"nodeSelectorTerms!": [{"matchExpressions": [_EXPRESSION]}]}
_METADATA = {
    "name": str,
    "generateName": str,
    "namespace": str,
    "labels": _TEXTS,
    "annotations": _TEXTS,
    "ownerReferences": [{"uid!": str}],
}
_PROBE = {
    "exec": {"command!": [str]},
    "initialDelaySeconds": int,
    "timeoutSeconds": int,
    "periodSeconds": int,
    "failureThreshold": int,
}
_CONTAINER = {
    "name": str,
    "image": str,
    "imagePullPolicy": str,
    "workingDir": str,
    "resources": {"limits": _AMOUNTS, "requests": _AMOUNTS},
    "env": [
        {
            "name!": str,
            "value": str,
            "valueFrom": {
                "secretKeyRef": {**_REFERENCE, "key!": str},
                "fieldRef": {"fieldPath!": str},
            },
        }
    ],
    "envFrom": [{"prefix": str, "secretRef": _REFERENCE}],
    "volumeMounts": [{"name!": str, "mountPath!": str, "readOnly": bool}],
    "readinessProbe": _PROBE,
}
POD = {
    "metadata": _METADATA,
    "spec": {
        "containers": [_CONTAINER],
        "volumes": [{"name!": str, "emptyDir": {"medium": str, "sizeLimit": _AMOUNT}}],
        "nodeSelector": _TEXTS,
        "nodeName": str,
        "restartPolicy": str,
        "terminationGracePeriodSeconds": int,
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _TERMS},
        },
    },
}
STORED = {"metadata": _METADATA, "data": _TEXTS, "stringData": _TEXTS, "type": str}


def without_nulls(value: Any) -> Any:  # noqa: ANN401  (any JSON)
    """Return JSON without fields that are null: Kubernetes takes them for absent."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def check(kind: str, value: object, shape: object, where: str = "") -> None:
    """Raise the 400 ApiError that names the first field of a wrong type."""
    if isinstance(shape, dict):
        _check_fields(kind, value, shape, where)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _wrong(kind, where, "a list")
        for number, one in enumerate(value):
            check(kind, one, shape[0], f"{where}[{number}]")
    else:
        types = shape if isinstance(shape, tuple) else (shape,)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise _wrong(kind, where, " or ".join(one.__name__ for one in types))


def _check_fields(kind: str, value: object, shape: dict[str, object], where: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(kind, where, "an object")
    for name, inner in shape.items():
        field = name.removesuffix("!")
        if field == "*":
            for key, one in value.items():
                check(kind, one, inner, f"{where}.{key}")
        elif field in value:
            check(kind, value[field], inner, f"{where}.{field}".lstrip("."))
        elif name.endswith("!"):
            raise _wrong(kind, f"{where}.{field}", "a value")


def _wrong(kind: str, where: str, wanted: str) -> Exception:
    version = f'{kind} in version "v1" cannot be handled as a {kind}'
    return bad_request(f"{version}: {where or 'the body'}: {wanted} is wanted")


def check_names(pod: str, names: list[str], field: str) -> None:
    """Raise the 422 ApiError of a volume name that is no DNS label: it becomes a folder's."""
    for name in names:
        if not _LABEL.fullmatch(name):
            words = f'Invalid value: "{name}": a lowercase RFC 1123 label is wanted'
            raise invalid("Pod", pod, field, "FieldValueInvalid", words)


def check_paths(pod: str, paths: list[str], field: str) -> None:
    """Raise the 422 ApiError of a path in the pod that is not absolute or could leave it."""
    for path in paths:
        if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
            words = f"Invalid value: \"{path}\": must be an absolute path without '..'"
            raise invalid("Pod", pod, field, "FieldValueInvalid", words)
