"""Watches: the changes of one kind as lines of JSON, for as long as the client stays."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from kgpud.localcluster.errors import ApiError, bad_request, expired
from kgpud.localcluster.forms import JSON, Form
from kgpud.localcluster.kinds import Kind
from kgpud.localcluster.registry import Change, Document, Registry
from kgpud.localcluster.selectors import Test

_LONGEST_SECONDS = 3600.0
_BOOKMARK_SECONDS = 60.0
_TRUE = ("true", "1")
_MOST_DIGITS = 20  # of 64 bits


@dataclass(frozen=True)
class Scope:
    """What a watch is about; `namespace` None means all."""

    kind: Kind
    namespace: str | None
    test: Test

    def covers(self, document: Document | None) -> bool:
        """Whether a document (None: none) is in the scope."""
        if document is None:
            return False
        inside = self.namespace in (None, document["metadata"].get("namespace"))
        return inside and self.test(document)


@dataclass(frozen=True)
class _Wanted:
    """What a request's query says; `version` None means the present, its objects first."""

    version: int | None
    seconds: float
    bookmarks: bool
    marks_initial: bool


def _wanted(query: Mapping[str, str]) -> _Wanted:
    text = query.get("resourceVersion", "")
    if text and not (text.isdecimal() and len(text) <= _MOST_DIGITS):
        message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing '
        raise ApiError(500, None, f'{message}"{text}": invalid syntax')
    marked = query.get("sendInitialEvents") in _TRUE
    initial = marked or text in ("", "0")
    timeout = query.get("timeoutSeconds") or "0"
    if not timeout.isdecimal():
        raise bad_request(f'strconv.ParseInt: parsing "{timeout}": invalid syntax')
    seconds = min(float(timeout) or _LONGEST_SECONDS, _LONGEST_SECONDS)
    bookmarks = query.get("allowWatchBookmarks") in _TRUE
    return _Wanted(None if initial else int(text), seconds, bookmarks, marked and bookmarks)


async def serve(
    request: web.Request, registry: Registry, scope: Scope, form: Form
) -> web.StreamResponse:
    """Answer a watch request until its timeout, the client's end or an expired version."""
    wanted = _wanted(request.query)
    response = web.StreamResponse(headers={"Content-Type": JSON})
    response.enable_chunked_encoding()
    await response.prepare(request)
    watcher = _Watcher(response, registry, scope, form)
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        async with asyncio.timeout(wanted.seconds):
            await watcher.follow(wanted)
    with contextlib.suppress(ConnectionResetError):
        await response.write_eof()
    return response


class _Watcher:
    """One watch. A client that does not read holds up itself alone, until it is too old."""

    def __init__(
        self, response: web.StreamResponse, registry: Registry, scope: Scope, form: Form
    ) -> None:
        self._response = response
        self._registry = registry
        self._scope = scope
        self._form = form
        self._sent_one = False

    async def follow(self, wanted: _Wanted) -> None:
        """Send what is there, if that was asked for, and then every change."""
        plural = self._scope.kind.plural
        version = self._registry.version if wanted.version is None else wanted.version
        if wanted.version is None:
            for document in self._registry.all(plural, self._scope.namespace):
                if self._scope.covers(document):
                    await self._send("ADDED", document)
            if wanted.marks_initial:
                await self._bookmark(version, initial=True)
        marked = asyncio.get_running_loop().time()
        while version >= self._registry.oldest(plural):
            changes = self._registry.since(plural, version)
            # All that this kind had until now; a version of the future stays one.
            version = max(version, self._registry.version)
            for change in changes:
                await self._send_change(change)
            await self._wait_for_news(plural, version, marked + _BOOKMARK_SECONDS)
            if asyncio.get_running_loop().time() >= marked + _BOOKMARK_SECONDS:
                marked = asyncio.get_running_loop().time()
                if wanted.bookmarks:
                    await self._bookmark(version, initial=False)
        oldest = self._registry.oldest(plural)
        error = expired(f"too old resource version: {version} ({oldest})")
        await self._send("ERROR", error.document())

    async def _wait_for_news(self, plural: str, version: int, until: float) -> None:
        """Return after a change newer than `version`, which may be of the future, or in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while not self._registry.since(plural, version):
                    await self._registry.wait_for(plural)

    async def _send_change(self, change: Change) -> None:
        """Send a change as the selector sees it: one that leaves its scope is a deletion."""
        before, after = self._scope.covers(change.before), self._scope.covers(change.document)
        if change.kind == "DELETED":
            if before or after:
                await self._send("DELETED", change.document)
        elif after:
            await self._send("MODIFIED" if before else "ADDED", change.document)
        elif before:
            await self._send("DELETED", change.document)

    async def _bookmark(self, version: int, *, initial: bool) -> None:
        kind = self._scope.kind
        metadata: Document = {"resourceVersion": str(version)}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        document = {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata}
        if kind.plural == "pods":
            document |= {"spec": {"containers": None}, "status": {}}
        await self._send("BOOKMARK", document)

    async def _send(self, type_: str, document: Document) -> None:
        if type_ == "BOOKMARK":
            document = self._form.bookmark(document)
        elif type_ != "ERROR":
            document = self._form.event(document, first=not self._sent_one)
            self._sent_one = True
        line = json.dumps({"type": type_, "object": document}, separators=(",", ":"))
        await self._response.write(line.encode() + b"\n")
