"""A container's environment, as its spec and the secrets it names say."""

import base64
import re
from typing import Any

from kgpud.localcluster.registry import Document, Registry

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")


class ConfigError(Exception):
    """A secret or key that the spec names is not there; the text is the kubelet's."""


def environment(registry: Registry, pod: Document, container: Document) -> dict[str, str]:
    """Return the environment of one of the pod's containers; ConfigError when it can't be had."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    env = {"PATH": _PATH, "HOSTNAME": name, "HOME": "/root"}
    for source in container.get("envFrom") or []:
        if "secretRef" not in source:
            raise ConfigError(_only_secrets("envFrom"))
        for key, text in _secret(registry, namespace, source["secretRef"]).items():
            env[(source.get("prefix") or "") + key] = text
    for entry in container.get("env") or []:
        value = _value(registry, pod, entry, env)
        if value is not None:
            env[entry["name"]] = value
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise ConfigError(f"environment variable {name!r} can't be expressed")
    return env


def _value(registry: Registry, pod: Document, entry: Document, env: dict[str, str]) -> str | None:
    source: dict[str, Any] = entry.get("valueFrom") or {}
    if reference := source.get("secretKeyRef"):
        namespace = pod["metadata"]["namespace"]
        data = _secret(registry, namespace, reference)
        if reference["key"] not in data and not reference.get("optional"):
            where = f"{namespace}/{reference['name']}"
            raise ConfigError(f"couldn't find key {reference['key']} in Secret {where}")
        return data.get(reference["key"])
    if field := source.get("fieldRef"):
        found: Any = pod
        where, _bracket, key = field["fieldPath"].removesuffix("']").partition("['")
        for part in [*where.split("."), *([key] if key else [])]:
            found = found.get(part) if isinstance(found, dict) else None
        return "" if found is None else str(found)
    if source:
        raise ConfigError(_only_secrets(entry["name"]))

    def expand(matched: re.Match[str]) -> str:
        if matched[0] == "$$":
            return "$"
        return env.get(matched[1], matched[0])

    return _REFERENCE.sub(expand, str(entry.get("value") or ""))


def _only_secrets(what: str) -> str:
    return f"{what}: this local cluster takes values from secrets and fields of the pod alone"


def _secret(registry: Registry, namespace: str, reference: Document) -> dict[str, str]:
    secret = registry.get("secrets", namespace, reference["name"])
    if secret is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'secret "{reference["name"]}" not found')
    data = secret.get("data") or {}
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
