"""The Kubernetes API as far as this program needs it: dicts in, dicts out, typed errors."""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Generic, cast

from typing_extensions import TypeVar

from gateway.protocols import ApiServer, NoApiServer
from kgpud.cluster import answers
from kgpud.cluster.access import Access
from kgpud.cluster.errors import ClusterError, Refused
from kgpud.cluster.transport import WATCH_SECONDS, Transport
from kgpud.cluster.verdicts import refusal, unreachable
from kgpud.cluster_settings import Kubernetes

Object = dict[str, Any]
_Item = TypeVar("_Item", default=Object)

# A page is read in one go, in which nothing else of the daemon's moves: 100 pods take 10 ms.
_PAGE = 100


@dataclass(frozen=True)
class Listing(Generic[_Item]):
    """A whole list, each item as it was read, and the version to watch from."""

    items: list[_Item]
    version: str


@dataclass(frozen=True)
class About:
    """What an API server says of itself, e.g. ``v1.34.1+k3s1``.

    `date` is its clock (milliseconds since the epoch, to the second), None if it told none;
    `took` is how many milliseconds it took to say so.
    """

    version: str
    date: int | None
    took: int


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

    def __init__(self, transport: Transport, access: Access, namespace: str) -> None:
        self._transport = transport
        self._access = access
        self.namespace = namespace
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._events = f"/api/v1/namespaces/{namespace}/events"
        self._secrets = f"/api/v1/namespaces/{namespace}/secrets"

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: Kubernetes) -> AsyncIterator["Cluster"]:
        """Use the cluster that the configuration names. Sends nothing yet."""
        access = Access(settings)
        async with Transport.open(access) as transport:
            yield cls(transport, access, settings.namespace)

    @classmethod
    def connect(
        cls, kubeconfig: Path | None, namespace: str
    ) -> AbstractAsyncContextManager["Cluster"]:
        """Use the cluster a kubeconfig names, or the one we run in if None. Sends nothing yet."""
        return cls.of(Kubernetes(kubeconfig, namespace=namespace))

    async def api_server(self) -> ApiServer:
        """Return the current address and credentials. Raises gateway.protocols.NoApiServer."""
        try:
            return await self._access.api_server()
        except ClusterError as error:
            raise NoApiServer(str(error)) from error

    def refused(self, server: ApiServer) -> None:
        """Take note that an exec's credentials were refused."""
        self._access.forget(server)

    def avoid(self, server: ApiServer) -> bool:
        """Take note that an exec found nobody there; tell whether there is another address."""
        return self._access.avoid(server)

    async def about(self) -> About:
        """Ask which version it is and what time it has."""
        asked = time.monotonic()
        answer = await self._transport.call("GET", "/version")
        took = round((time.monotonic() - asked) * 1000)
        return About(str(answer.document.get("gitVersion", "")), _date(answer.headers), took)

    async def may(self, verb: str, resource: str, *, everywhere: bool = False) -> bool:
        """Ask whether these credentials may do something: a SelfSubjectAccessReview."""
        plural, _, below = resource.partition("/")
        asked = {"verb": verb, "resource": plural, "subresource": below}
        if not everywhere:
            asked["namespace"] = self.namespace
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        status = (await self._request("POST", path, body=review)).get("status") or {}
        return status.get("allowed") is True

    async def identity(self) -> str | None:
        """Return the namespace's uid, which no other cluster's has; None if we may not ask."""
        try:
            found = await self._request("GET", f"/api/v1/namespaces/{self.namespace}")
        except Refused as error:
            if error.status == 403:  # noqa: PLR2004 - HTTP; a role from before this was asked
                return None
            raise
        try:
            return str(found["metadata"]["uid"])
        except (KeyError, TypeError) as error:
            raise unreachable(error, maybe_done=False) from error

    async def create_pod(self, manifest: Object) -> Object:
        """Create a pod; return it as the cluster sees it."""
        made = await self._request("POST", self._pods, body=manifest)
        try:
            return answers.item(made)
        except ValueError as error:
            raise unreachable(error, maybe_done=True) from error

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
        return await self.read_pods(_whole)

    async def read_pods(self, read: Callable[[Object], _Item]) -> Listing[_Item]:
        """List what `read` makes of every pod; the rest of it is forgotten page by page.

        A namespace of 5,000 pods is 40 MB to read and ten times that to keep.
        """
        return await self._list(self._pods, read)

    async def pod_events(self, name: str) -> list[Object]:
        """Return what the cluster's components said about a pod, as far as it is kept."""
        about = {"fieldSelector": f"involvedObject.name={name}"}
        return (await self._list(self._events, _whole, about)).items

    async def list_nodes(self) -> Listing:
        """List every node of the cluster."""
        return await self._list("/api/v1/nodes", _whole)

    def watch_pods(self, version: str) -> AsyncIterator[Event]:
        """Yield what happens to the namespace's pods after `version`, for about a minute.

        Raises Expired where that is too long ago.
        """
        return self._watch(self._pods, version)

    def watch_nodes(self, version: str) -> AsyncIterator[Event]:
        """Yield what happens to nodes after `version`, as `watch_pods` does."""
        return self._watch("/api/v1/nodes", version)

    def log(
        self, name: str, container: str, query: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a container's log, to be read while the block runs; `query` is Kubernetes' own."""
        path = f"{self._pods}/{name}/log"
        return self._transport.reading(path, {"container": container, **query})

    async def _delete(self, path: str, query: Mapping[str, str]) -> bool:
        try:
            await self._request("DELETE", path, query=query)
        except Refused as error:
            if error.status == 404:  # noqa: PLR2004 - HTTP
                return False
            raise
        return True

    async def _list(
        self,
        path: str,
        read: Callable[[Object], _Item],
        which: Mapping[str, str] | None = None,
    ) -> Listing[_Item]:
        items: list[_Item] = []
        query = first = {"limit": str(_PAGE), **(which or {})}
        while True:
            found = await self._request("GET", path, query=query)
            try:
                some, version, more = answers.page(found, query.get("continue"))
            except ValueError as error:
                raise unreachable(error, maybe_done=False) from error
            items += map(read, some)
            if more is None:
                return Listing(items, version)
            query = {**first, "continue": more}

    async def _watch(self, path: str, version: str) -> AsyncIterator[Event]:
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        lines = cast("AsyncGenerator[bytes, None]", self._transport.lines(path, query))
        async with aclosing(lines):
            async for line in lines:
                try:
                    yield _event(line)
                except ValueError as error:
                    raise unreachable(error, maybe_done=False) from error

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
    ) -> Object:
        return (await self._transport.call(method, path, query=query, body=body)).document


def _whole(item: Object) -> Object:
    return item


def _event(line: bytes) -> Event:
    kind, found = answers.event(line)
    if kind == "ERROR":
        raise refusal(int(found.get("code") or 500), json.dumps(found).encode())
    return Event(kind, found)


def _date(headers: Mapping[str, str]) -> int | None:
    try:
        return int(parsedate_to_datetime(headers["Date"]).timestamp() * 1000)
    except (KeyError, ValueError):
        return None
