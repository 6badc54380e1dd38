"""Watches: the changes of one kind as lines of JSON, for as long as the client stays."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from kgpud.localcluster.errors import ApiError
from kgpud.localcluster.registry import Change, Document, Registry
from kgpud.localcluster.selectors import Test

_LONGEST_SECONDS = 3600.0
_BOOKMARK_SECONDS = 60.0


@dataclass(frozen=True)
class Scope:
    """What a watch is about; `namespace` None means all."""

    plural: str
    kind: str
    namespace: str | None
    test: Test

    def covers(self, document: Document | None) -> bool:
        """Whether a document (None: none) is in the scope."""
        if document is None:
            return False
        inside = self.namespace in (None, document["metadata"].get("namespace"))
        return inside and self.test(document)


async def serve(request: web.Request, registry: Registry, scope: Scope) -> web.StreamResponse:
    """Answer a watch request until its timeout, the client's end or an expired version."""
    query = request.query
    text = query.get("resourceVersion", "")
    if text and not text.isdecimal():
        message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing '
        raise ApiError(500, None, f'{message}"{text}": invalid syntax')
    initial = query.get("sendInitialEvents") == "true" or text in ("", "0")
    seconds = float(query.get("timeoutSeconds") or _LONGEST_SECONDS)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    follow = _follow(response, registry, scope, None if initial else int(text), query)
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        async with asyncio.timeout(min(seconds, _LONGEST_SECONDS)):
            await follow
    with contextlib.suppress(ConnectionResetError):
        await response.write_eof()
    return response


async def _follow(
    response: web.StreamResponse,
    registry: Registry,
    scope: Scope,
    version: int | None,
    query: Mapping[str, str],
) -> None:
    bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
    if version is None:
        version = registry.version
        for document in registry.all(scope.plural, scope.namespace):
            if scope.covers(document):
                await _send(response, "ADDED", document)
        if query.get("sendInitialEvents") == "true":
            await _bookmark(response, scope, version, initial=True)
    while not registry.is_forgotten(version):
        changes = list(registry.since(version))
        version = max(version, registry.version)
        for change in changes:
            if change.plural == scope.plural:
                await _send_change(response, scope, change)
        if not await _has_news(registry, version) and bookmarks:
            await _bookmark(response, scope, version, initial=False)
    said = f"too old resource version: {version} ({registry.oldest})"
    await _send(response, "ERROR", ApiError(410, "Expired", said).document())


async def _has_news(registry: Registry, version: int) -> bool:
    """Wait for a change after `version`, which may be of the future; false when none came."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_BOOKMARK_SECONDS):
            while registry.version <= version:
                await registry.wait()
            return True
    return False


async def _send_change(response: web.StreamResponse, scope: Scope, change: Change) -> None:
    """Send a change as the selector sees it: one that leaves its scope is a deletion."""
    before, after = scope.covers(change.before), scope.covers(change.document)
    if change.kind == "DELETED":
        if before or after:
            await _send(response, "DELETED", change.document)
    elif after:
        await _send(response, "MODIFIED" if before else "ADDED", change.document)
    elif before:
        await _send(response, "DELETED", change.document)


async def _bookmark(
    response: web.StreamResponse, scope: Scope, version: int, *, initial: bool
) -> None:
    metadata: Document = {"resourceVersion": str(version)}
    if initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    document = {"kind": scope.kind, "apiVersion": "v1", "metadata": metadata}
    if scope.kind == "Pod":
        document |= {"spec": {"containers": None}, "status": {}}
    await _send(response, "BOOKMARK", document)


async def _send(response: web.StreamResponse, kind: str, document: Document) -> None:
    line = json.dumps({"type": kind, "object": document}, separators=(",", ":"))
    await response.write(line.encode() + b"\n")
