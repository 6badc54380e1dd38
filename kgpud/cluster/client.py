"""The Kubernetes API as far as this program needs it: dicts in, dicts out, typed errors."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from gateway.protocols import ApiServer
from kgpud.cluster import answers
from kgpud.cluster.access import Access
from kgpud.cluster.errors import ClusterError, Expired, Refused, Unreachable

Object = dict[str, Any]

_TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
_PAGE = 500
# The server ends each watch after this; a connection that died silently is noticed a little later.
_WATCH_SECONDS = 60
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=5, sock_read=_WATCH_SECONDS + 15)
# etcd's limit for one object is 1.5 MiB, and a watch event is one line.
_LONGEST_LINE = 1 << 21


@dataclass(frozen=True)
class Listing:
    """A whole list and the version to watch from."""

    items: list[Object]
    version: str


@dataclass(frozen=True)
class Event:
    """One watch event: ADDED, MODIFIED, DELETED or BOOKMARK, and its object."""

    kind: str
    object: Object

    @property
    def version(self) -> str:
        """The version to watch from after this event."""
        return str(self.object["metadata"]["resourceVersion"])


class Cluster:
    """One namespace of one cluster. Implements `gateway.protocols.ApiServerSource`.

    Every method raises a ClusterError: Refused if the API server said no, Unreachable if it
    didn't answer.
    """

    def __init__(self, session: aiohttp.ClientSession, access: Access, namespace: str) -> None:
        self._session = session
        self._access = access
        self.namespace = namespace
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._secrets = f"/api/v1/namespaces/{namespace}/secrets"

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: Path | None, namespace: str) -> AsyncIterator["Cluster"]:
        """Use the cluster a kubeconfig names, or the one we run in if None. Sends nothing yet."""
        async with aiohttp.ClientSession(
            trust_env=False, timeout=_TIMEOUT, read_bufsize=_LONGEST_LINE
        ) as session:
            yield cls(session, Access(kubeconfig), namespace)

    async def api_server(self) -> ApiServer:
        """Return the current address and credentials."""
        return await self._access.api_server()

    async def create_pod(self, manifest: Object) -> Object:
        """Create a pod; return it as the cluster sees it."""
        made = await self._request("POST", self._pods, body=manifest)
        try:
            return answers.item(made)
        except ValueError as error:
            raise _unreachable(error, maybe_done=True) from error

    async def patch_pod(self, name: str, patch: Object) -> Object:
        """Apply a merge patch to a pod."""
        return await self._request("PATCH", f"{self._pods}/{name}", body=patch)

    async def delete_pod(self, name: str, grace_seconds: int) -> bool:
        """Ask for a pod's deletion; False if there is none."""
        query = {"gracePeriodSeconds": str(grace_seconds)}
        return await self._delete(f"{self._pods}/{name}", query)

    async def create_secret(self, manifest: Object) -> Object:
        """Create a Secret."""
        return await self._request("POST", self._secrets, body=manifest)

    async def patch_secret(self, name: str, patch: Object) -> Object:
        """Apply a merge patch to a Secret."""
        return await self._request("PATCH", f"{self._secrets}/{name}", body=patch)

    async def delete_secret(self, name: str) -> bool:
        """Delete a Secret; False if there is none."""
        return await self._delete(f"{self._secrets}/{name}", {})

    async def list_pods(self) -> Listing:
        """List every pod of the namespace, ours or not, as of now."""
        return await self._list(self._pods)

    async def list_nodes(self) -> Listing:
        """List every node of the cluster."""
        return await self._list("/api/v1/nodes")

    def watch_pods(self, version: str) -> AsyncIterator[Event]:
        """Yield what happens to the namespace's pods after `version`, for about a minute.

        Raises Expired where that is too long ago.
        """
        return self._watch(self._pods, version)

    def watch_nodes(self, version: str) -> AsyncIterator[Event]:
        """Yield what happens to nodes after `version`, as `watch_pods` does."""
        return self._watch("/api/v1/nodes", version)

    async def _delete(self, path: str, query: Mapping[str, str]) -> bool:
        try:
            await self._request("DELETE", path, query=query)
        except Refused as error:
            if error.status == 404:  # noqa: PLR2004 - HTTP
                return False
            raise
        return True

    async def _list(self, path: str) -> Listing:
        items: list[Object] = []
        query = {"limit": str(_PAGE)}
        while True:
            found = await self._request("GET", path, query=query)
            try:
                some, version, more = answers.page(found, query.get("continue"))
            except ValueError as error:
                raise _unreachable(error, maybe_done=False) from error
            items += some
            if more is None:
                return Listing(items, version)
            query = {"limit": str(_PAGE), "continue": more}

    async def _watch(self, path: str, version: str) -> AsyncIterator[Event]:
        server = await self.api_server()
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        try:
            async with self._session.get(
                server.url + path,
                params=query,
                headers=server.headers,
                ssl=server.ssl if server.ssl is not None else True,
                timeout=_WATCH_TIMEOUT,
            ) as response:
                await self._check(response)
                async for line in response.content:
                    yield _event(line)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _unreachable(error, maybe_done=False) from error

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
    ) -> Object:
        try:
            return await self._attempt(method, path, query or {}, body)
        except Refused as error:
            if error.status != 401:  # noqa: PLR2004 - HTTP
                raise
        # The token may have been rotated under us.
        self._access.forget()
        return await self._attempt(method, path, query or {}, body)

    async def _attempt(
        self, method: str, path: str, query: Mapping[str, str], body: Object | None
    ) -> Object:
        server = await self.api_server()
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            async with self._session.request(
                method,
                server.url + path,
                params=query,
                data=None if body is None else json.dumps(body).encode(),
                headers={**server.headers, "Content-Type": kind, "Accept": "application/json"},
                ssl=server.ssl if server.ssl is not None else True,
            ) as response:
                await self._check(response)
                return answers.document(await response.read())
        except aiohttp.ClientConnectorError as error:
            raise _unreachable(error, maybe_done=False) from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _unreachable(error, maybe_done=method != "GET") from error

    @staticmethod
    async def _check(response: aiohttp.ClientResponse) -> None:
        if response.status >= 400:  # noqa: PLR2004 - HTTP
            raise _refusal(response.status, await response.read())


def _event(line: bytes) -> Event:
    kind, found = answers.event(line)
    if kind == "ERROR":
        raise _refusal(int(found.get("code") or 500), json.dumps(found).encode())
    return Event(kind, found)


def _refusal(status: int, body: bytes) -> ClusterError:
    try:
        said = answers.document(body)
        message, reason = str(said.get("message", "")), str(said.get("reason", ""))
    except ValueError:
        message, reason = body[:200].decode(errors="replace"), ""
    message = f"API server: {status} {message}".rstrip()
    if status == 429:  # noqa: PLR2004 - HTTP
        return Unreachable(message, maybe_done=False, status=status)
    if status >= 500:  # noqa: PLR2004 - HTTP
        return Unreachable(message, maybe_done=True, status=status)
    kind = Expired if status == 410 else Refused  # noqa: PLR2004 - HTTP
    return kind(message, status=status, reason=reason)


def _unreachable(error: Exception, *, maybe_done: bool) -> Unreachable:
    timed_out = isinstance(error, TimeoutError | asyncio.TimeoutError)
    what = "timed out" if timed_out else f"{type(error).__name__}: {error}"
    return Unreachable(f"API server: {what}", maybe_done=maybe_done)
