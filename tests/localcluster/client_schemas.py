"""What the fields of the objects this cluster stores are, as the Kubernetes client knows them.

`python -m tests.localcluster.client_schemas` writes `kgpud/localcluster/schemas.json` again.
"""

import json
import re
from pathlib import Path

from kubernetes_asyncio import client

FILE = Path(__file__).parents[2] / "kgpud/localcluster/schemas.json"
KINDS = (
    "V1ClusterRole",
    "V1ClusterRoleBinding",
    "V1ConfigMap",
    "CoreV1Event",
    "V1Namespace",
    "V1NetworkPolicy",
    "V1Node",
    "V1Pod",
    "V1Role",
    "V1RoleBinding",
    "V1Secret",
    "V1ServiceAccount",
)
_PLAIN = {"str": "string", "int": "int32", "bool": "bool", "float": "float64", "datetime": "Time"}
# The client takes quantities and base64 for strings and every integer for one width.
_QUANTITIES = {
    "allocatable", "allocatedResources", "capacity", "divisor", "limits", "overhead", "requests",
    "sizeLimit",
}  # fmt: skip
_BYTES = {("V1Secret", "data"), ("V1ConfigMap", "binaryData")}
_LONG = {
    "activeDeadlineSeconds", "deletionGracePeriodSeconds", "expirationSeconds", "fsGroup",
    "generation", "gid", "observedGeneration", "runAsGroup", "runAsUser", "seconds", "sizeBytes",
    "supplementalGroups", "terminationGracePeriodSeconds", "tolerationSeconds", "uid",
}  # fmt: skip

Schemas = dict[str, dict[str, str]]


def schemas() -> Schemas:
    """Return the fields of each type, by name, with their types as Go writes them."""
    found: Schemas = {}
    for kind in KINDS:
        _add(found, kind)
    return dict(sorted(found.items()))


def _add(found: Schemas, model: str) -> str:
    name = re.sub(r"^(Core)?V1", "", model)
    if name not in found:
        found[name] = {}
        described = getattr(client, model)
        for attribute, type_ in described.openapi_types.items():
            field = described.attribute_map[attribute]
            found[name][field] = _type(found, model, field, type_)
    return name


def _type(found: Schemas, model: str, field: str, type_: str) -> str:
    if matched := re.fullmatch(r"list\[(.*)\]", type_):
        return "[]" + _type(found, model, field, matched[1])
    if matched := re.fullmatch(r"dict\(str, (.*)\)", type_):
        return "map[string]" + _type(found, model, field, matched[1])
    for plain, is_special, special in (
        ("str", field in _QUANTITIES, "Quantity"),
        ("str", (model, field) in _BYTES, "bytes"),
        ("int", field in _LONG, "int64"),
        ("object", field == "fieldsV1", "any"),
        ("object", True, "IntOrString"),
    ):
        if type_ == plain and is_special:
            return special
    return _PLAIN.get(type_) or _add(found, type_)


if __name__ == "__main__":
    lines = (f" {json.dumps(name)}: {json.dumps(fields)}" for name, fields in schemas().items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
