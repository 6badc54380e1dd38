"""Reads what an API server, or a proxy in its place, answered. Pure.

Everything raises ValueError for what no API server would say: a login page, ``{}``, half a list.
Only the frame of an object is checked; what stands in a pod's status is the kubelet's affair.
"""

import json
from typing import Any

Object = dict[str, Any]


def document(data: bytes) -> Object:
    """Read a JSON object."""
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("a document nested too deeply") from None
    return _mapping(found, "document")


def page(found: Object, begins: str | None) -> tuple[list[Object], str, str | None]:
    """Return a list's items, its version, and where its next page begins, if there is one.

    `begins` is where this one was to begin: a cache may give the same page for every page.
    """
    items, metadata = found.get("items"), _mapping(found.get("metadata"), "metadata")
    if items is not None and not isinstance(items, list):
        raise ValueError("a list without items")
    more = metadata.get("continue") or None
    if more is not None and more == begins:
        raise ValueError("the same page again")
    return [item(one) for one in items or ()], _text(metadata, "resourceVersion"), more


def event(line: bytes) -> tuple[str, Object]:
    """Return a watch event's type and its object: a Status for ``ERROR``."""
    found = document(line)
    kind = _text(found, "type")
    if kind == "ERROR":
        return kind, _mapping(found.get("object"), "status")
    if kind == "BOOKMARK":
        bookmark = _mapping(found.get("object"), "bookmark")
        _text(_mapping(bookmark.get("metadata"), "metadata"), "resourceVersion")
        return kind, bookmark
    changed = item(found.get("object"))
    _text(changed["metadata"], "resourceVersion")
    return kind, changed


def item(found: object) -> Object:
    """Check that this is an object with a name, a spec and a status, as far as it has them."""
    kept = _mapping(found, "object")
    _text(_mapping(kept.get("metadata"), "metadata"), "name")
    for part in ("spec", "status"):
        _mapping(kept.get(part, {}), part)
    return kept


def _mapping(found: object, what: str) -> Object:
    if not isinstance(found, dict):
        raise ValueError(f"no {what} where there should be one")  # noqa: TRY004 - bad input
    return found


def _text(found: Object, name: str) -> str:
    text = found.get(name)
    if not isinstance(text, str) or not text:
        raise ValueError(f"no {name} where there should be one")
    return text
