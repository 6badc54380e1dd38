"""Long lists in pages: `limit`, and the token by which the next page is asked for.

Every page is of the moment the first one was made; the token says which moment and which name.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kgpud.localcluster.errors import ApiError, bad_request, expired
from kgpud.localcluster.registry import Document, Registry

_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105  (not a secret)
_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start "
    "a new list without the continue parameter, or use the continue token in this response to "
    "retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True)
class Start:
    """Where a page begins: after this (namespace, name), of this version; -1 is the present."""

    version: int
    after: tuple[str, str]


def listed(
    registry: Registry, plural: str, namespace: str | None, start: Start | None
) -> tuple[list[Document], int]:
    """Return a kind's objects from where a page begins, and the version they are of.

    ApiError 410 when that version is forgotten, with a token that goes on in the present.
    """
    if start is None:
        return registry.all(plural, namespace), registry.version
    if start.version < 0:
        return _after(registry.all(plural, namespace), start), registry.version
    try:
        found = registry.all_at(plural, namespace, start.version)
    except KeyError:
        again = _token(Start(-1, start.after), namespace)
        raise expired(_TOO_OLD, {"continue": again}) from None
    return _after(found, start), start.version


def _after(documents: Sequence[Document], start: Start) -> list[Document]:
    return [document for document in documents if _place(document) > start.after]


def _place(document: Document) -> tuple[str, str]:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def cut(
    documents: list[Document], limit: int, version: int, namespace: str | None, *, counted: bool
) -> tuple[list[Document], Document]:
    """Return the first page of these and the list's metadata; `limit` 0 is no limit.

    How many remain is told only where no selector was used (`counted`).
    """
    metadata: Document = {"resourceVersion": str(version)}
    if limit and len(documents) > limit:
        start = Start(version, _place(documents[limit - 1]))
        metadata["continue"] = _token(start, namespace)
        if counted:
            metadata["remainingItemCount"] = len(documents) - limit
        documents = documents[:limit]
    return documents, metadata


def _token(start: Start, namespace: str | None) -> str:
    within, name = start.after
    key = f"{within}/{name}" if namespace is None and within else f"/{name}"
    fields = {"v": _TOKEN_VERSION, "rv": start.version, "start": f"{key}\0"}
    written = json.dumps(fields, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(written).rstrip(b"=").decode()


def read_token(token: str, namespace: str | None) -> Start | None:
    """Return where a page begins, None for the first. ApiError 400 for a token that is none."""
    if not token:
        return None
    try:
        fields = _fields(token)
    except ValueError as error:
        raise _bad(str(error)) from None
    if fields.get("v") != _TOKEN_VERSION:
        raise _bad("server does not recognize this encoded version")
    key, version = fields.get("start"), fields.get("rv")
    if not isinstance(key, str) or "/" not in key or not isinstance(version, int) or not version:
        raise _bad("encoded start key empty")
    within, _slash, name = key.removesuffix("\0").rpartition("/")
    return Start(version, (within or namespace or "", name))


def _fields(token: str) -> dict[str, Any]:
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("illegal base64 data at input byte 0") from None
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict):
        return fields
    if not data:
        raise ValueError("unexpected end of JSON input")
    first = f"{data[0]:c}"
    shown = first if first.isascii() and first.isprintable() else f"\\u{data[0]:04x}"
    raise ValueError(f"invalid character '{shown}' looking for beginning of value")


def _bad(words: str) -> ApiError:
    return bad_request(f"invalid continue token: continue key is not valid: {words}")


def read_limit(text: str) -> int:
    """Return the limit of a list request, 0 for none. ApiError 400 when it is no number."""
    if not text:
        return 0
    try:
        return max(int(text), 0)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
