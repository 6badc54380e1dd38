"""What a pod says of where things come from: environment, volumes, probes and nodes."""

import re
from collections.abc import Iterator, Sequence

from kgpud.localcluster.errors import Cause, not_allowed, required, wrong
from kgpud.localcluster.names import label_key_causes, name_trouble
from kgpud.localcluster.registry import Document

_ENV_RULE = (
    "a valid environment variable name must consist only of printable ASCII characters other "
    "than '='"
)
_FIELD = re.compile(
    r"metadata\.(name|namespace|uid|labels\['[^']+'\]|annotations\['[^']+'\])"
    r"|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?)"
)
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PROBE_NUMBERS = (
    "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold",
    "failureThreshold",
)  # fmt: skip


def env_causes(where: str, container: Document) -> Iterator[Cause]:
    """Yield what is wrong with a container's env and envFrom."""
    for number, variable in enumerate(container.get("env") or []):
        yield from _variable_causes(f"{where}.env[{number}]", variable)
    for number, source in enumerate(container.get("envFrom") or []):
        at = f"{where}.envFrom[{number}]"
        kinds = [kind for kind in ("configMapRef", "secretRef") if kind in source]
        if len(kinds) != 1:
            yield wrong(at, "", "must specify one of: `configMapRef` or `secretRef`")
        for kind in kinds:
            yield from _named_causes(f"{at}.{kind}.name", source[kind].get("name", ""))


def _variable_causes(where: str, variable: Document) -> Iterator[Cause]:
    name = variable.get("name", "")
    if not name:
        yield required(f"{where}.name")
    elif not all(" " <= letter <= "~" and letter != "=" for letter in name):
        yield wrong(f"{where}.name", name, _ENV_RULE)
    source = variable.get("valueFrom")
    if source is None:
        return
    if variable.get("value"):
        yield wrong(f"{where}.valueFrom", "", "may not be specified when `value` is not empty")
    if len(source) != 1:
        words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or "
        yield wrong(f"{where}.valueFrom", "", words + "`secretKeyRef`")
    for kind in ("secretKeyRef", "configMapKeyRef"):
        if kind in source:
            yield from _key_reference_causes(f"{where}.valueFrom.{kind}", source[kind])
    if "fieldRef" in source:
        yield from _field_causes(f"{where}.valueFrom.fieldRef", source["fieldRef"])


def _key_reference_causes(where: str, reference: Document) -> Iterator[Cause]:
    yield from _named_causes(f"{where}.name", reference.get("name", ""))
    if not reference.get("key"):
        yield required(f"{where}.key")


def _named_causes(field: str, name: str) -> Iterator[Cause]:
    if words := name_trouble(name):
        yield wrong(field, name, words)


def _field_causes(where: str, reference: Document) -> Iterator[Cause]:
    path = reference.get("fieldPath", "")
    if not path:
        yield required(f"{where}.fieldPath")
    elif not _FIELD.fullmatch(path):
        words = f"error converting fieldPath: field label not supported: {path}"
        yield wrong(f"{where}.fieldPath", path, words)


def volume_causes(where: str, volume: Document) -> Iterator[Cause]:
    """Yield what is wrong with the source of a volume."""
    kinds = [kind for kind in volume if kind != "name"]
    for kind in kinds[1:]:
        yield not_allowed(f"{where}.{kind}", "may not specify more than 1 volume type")
    secret = volume.get("secret")
    if secret is None:
        return
    if not secret.get("secretName"):
        yield required(f"{where}.secret.secretName")
    for number, item in enumerate(secret.get("items") or []):
        for key in ("key", "path"):
            if not item.get(key):
                yield required(f"{where}.secret.items[{number}].{key}")


def probe_causes(where: str, probe: Document | None) -> Iterator[Cause]:
    """Yield what is wrong with a probe."""
    if probe is None:
        return
    handlers = [name for name in _HANDLERS if name in probe]
    if not handlers:
        yield required(where, "must specify a handler type")
    for name in handlers[1:]:
        yield not_allowed(f"{where}.{name}", "may not specify more than 1 handler type")
    if "exec" in probe and not probe["exec"].get("command"):
        yield required(f"{where}.exec.command")
    for name in handlers:
        if name != "exec":
            yield from _port_causes(f"{where}.{name}.port", probe[name].get("port"))
    for name in _PROBE_NUMBERS:
        if probe.get(name, 0) < 0:
            yield wrong(f"{where}.{name}", probe[name], "must be greater than or equal to 0")


def container_port_causes(where: str, container: Document) -> Iterator[Cause]:
    """Yield what is wrong with the ports that a container names."""
    for number, port in enumerate(container.get("ports") or []):
        at = f"{where}.ports[{number}].containerPort"
        yield from _port_causes(at, port.get("containerPort"))


def _port_causes(field: str, port: object) -> Iterator[Cause]:
    if not port:
        yield required(field)
    elif isinstance(port, int) and not 0 < port < 1 << 16:
        yield wrong(field, port, "must be between 1 and 65535, inclusive")


def affinity_causes(where: str, affinity: Document) -> Iterator[Cause]:
    """Yield what is wrong with the node affinity that scheduling requires."""
    name = "requiredDuringSchedulingIgnoredDuringExecution"
    wanted = (affinity.get("nodeAffinity") or {}).get(name)
    if wanted is None:
        return
    terms = wanted.get("nodeSelectorTerms") or []
    at = f"{where}.nodeAffinity.{name}.nodeSelectorTerms"
    if not terms:
        yield required(at, "must have at least one node selector term")
    for number, term in enumerate(terms):
        for place, one in enumerate(term.get("matchExpressions") or []):
            yield from _expression_causes(f"{at}[{number}].matchExpressions[{place}]", one)


def _expression_causes(where: str, one: Document) -> Iterator[Cause]:
    operator, values = one.get("operator", ""), one.get("values") or []
    if operator in ("In", "NotIn"):
        if not values:
            words = "must be specified when `operator` is 'In' or 'NotIn'"
            yield required(f"{where}.values", words)
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield not_allowed(f"{where}.values", words)
    elif operator in ("Gt", "Lt"):
        yield from _bound_causes(f"{where}.values", values)
    else:
        yield wrong(f"{where}.operator", operator, "not a valid selector operator")
    yield from label_key_causes(f"{where}.key", one.get("key", ""))


def _bound_causes(field: str, values: Sequence[str]) -> Iterator[Cause]:
    if len(values) != 1:
        yield required(field, "must be specified single value when `operator` is 'Lt' or 'Gt'")
