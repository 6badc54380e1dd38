"""Requests about the API server itself: its version, health, groups and resources."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from kgpud.localcluster import discovery
from kgpud.localcluster.answers import answer
from kgpud.localcluster.errors import not_acceptable
from kgpud.localcluster.forms import JSON, accepted
from kgpud.localcluster.registry import Document

_Handler = Callable[[web.Request], Awaitable[web.Response]]


class About:
    """The handlers; those with an argument return one."""

    def said(self, document: Document) -> _Handler:
        """Answer a document that never changes."""

        async def say(_request: web.Request) -> web.Response:
            return answer(document)

        return say

    async def version(self, _request: web.Request) -> web.Response:
        """Answer the version."""
        return answer(discovery.VERSION)

    async def healthy(self, _request: web.Request) -> web.Response:
        """Answer that all is well."""
        return web.Response(text="ok")

    async def versions(self, request: web.Request) -> web.Response:
        """Answer the versions of the core API, or all about it."""
        if _wants_aggregated(request):
            return _aggregated(("",))
        return answer(discovery.api_versions(request.host))

    async def groups(self, request: web.Request) -> web.Response:
        """Answer the other groups, or all about them."""
        if _wants_aggregated(request):
            return _aggregated(discovery.GROUPS)
        return answer(discovery.groups())

    def group(self, name: str) -> _Handler:
        """Answer one group's versions."""
        return self.said(discovery.group(name))

    def resources(self, group: str) -> _Handler:
        """Answer the resources of a group; the core's name is empty."""
        return self.said(discovery.resources(group))


def _aggregated(names: tuple[str, ...]) -> web.Response:
    return answer(discovery.aggregated(names), media=discovery.AGGREGATED)


def _wants_aggregated(request: web.Request) -> bool:
    """Whether the first choice that is spoken here is the aggregated form, version 2."""
    for choice in accepted(request.headers.get("Accept") or JSON):
        wanted = choice.parameters
        if choice.media == JSON and wanted.get("as") == "APIGroupDiscoveryList":
            if (wanted.get("g"), wanted.get("v")) == ("apidiscovery.k8s.io", "v2"):
                return True
        elif choice.media in (JSON, "application/*", "*/*") and "as" not in wanted:
            return False
    raise not_acceptable()
