"""What a request asks for, read from its method, path and query as the API server reads them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}
_TRUE = ("1", "true")


@dataclass(frozen=True)
class RequestInfo:
    """Who may do this is a question of these alone. `resource` is empty for other paths."""

    verb: str
    path: str
    group: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""

    @property
    def full_resource(self) -> str:
        """The resource with what is below it, e.g. `pods/exec`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def read(method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
    """Return what a request asks for."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:  # noqa: PLR2004
        group, rest = "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:  # noqa: PLR2004
        group, rest = parts[1], parts[3:]
    else:
        return RequestInfo(method.lower(), path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):  # noqa: PLR2004
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    name = name or _named(query.get("fieldSelector", ""))
    verb = _verb(method, query, is_collection=len(rest) == 1)
    return RequestInfo(verb, path, group, namespace, resource, subresource, name)


def is_watch(query: Mapping[str, str]) -> bool:
    """Whether a list request is to go on as a watch."""
    return query.get("watch") in _TRUE


def _verb(method: str, query: Mapping[str, str], *, is_collection: bool) -> str:
    if method == "DELETE":
        return "deletecollection" if is_collection else "delete"
    verb = _VERBS.get(method, method.lower())
    if verb == "get" and is_collection:
        return "watch" if is_watch(query) else "list"
    return verb


def _named(fields: str) -> str:
    """Return the name that a field selector holds a list to: it may be allowed by name."""
    matched = re.search(r"(?:^|,)\s*metadata\.name==?([^,=!]+)(?:,|$)", fields)
    return matched[1] if matched else ""
