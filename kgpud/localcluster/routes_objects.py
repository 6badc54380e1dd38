"""Requests about stored objects of one kind: get, list, watch, create, update, patch, delete."""

import copy
import secrets

from aiohttp import web

from kgpud.localcluster import bodies, pages, patches, rules, watch
from kgpud.localcluster.answers import answer
from kgpud.localcluster.errors import (
    bad_request,
    conflict,
    not_found,
    unsupported_media_type,
)
from kgpud.localcluster.forms import Form
from kgpud.localcluster.kinds import Kind
from kgpud.localcluster.registry import Document
from kgpud.localcluster.request_info import is_watch
from kgpud.localcluster.selectors import selector
from kgpud.localcluster.storage import Storage

# What the API server alone writes into metadata.
_OWN = (
    "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "selfLink",
)  # fmt: skip
# The letters that generated names end with: none can make a word.
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_GENERATED, _LONGEST_BASE = 5, 58
# These come back whole when they are deleted, others as a Status.
_RETURNED = ("pods", "namespaces", "serviceaccounts")


class Objects:
    """The handlers of one kind."""

    def __init__(self, storage: Storage, kind: Kind) -> None:
        self._storage = storage
        self._registry = storage.registry
        self._kind = kind

    async def list(self, request: web.Request) -> web.StreamResponse:
        """List the objects of a namespace or of all, in pages, or watch them."""
        query, kind = request.query, self._kind
        form = self._form(request)
        namespace = request.match_info.get("namespace")
        chosen = (query.get("labelSelector", ""), query.get("fieldSelector", ""))
        test = selector(*chosen, kind.fields)
        if is_watch(query):
            scope = watch.Scope(kind, namespace, test)
            return await watch.serve(request, self._registry, scope, form)
        start = pages.read_token(query.get("continue", ""), namespace)
        found, version = pages.listed(self._registry, kind.plural, namespace, start)
        found = [one for one in found if test(one)]
        limit = pages.read_limit(query.get("limit", ""))
        counted = not any(chosen)
        found, metadata = pages.cut(found, limit, version, namespace, counted=counted)
        return answer(form.many(found, metadata))

    async def get(self, request: web.Request) -> web.Response:
        """Get one object."""
        return answer(self._form(request).one(self._found(request)))

    def _form(self, request: web.Request) -> Form:
        accept, include = request.headers.get("Accept", ""), request.query.get("includeObject", "")
        return Form(self._kind, accept, include)

    def _found(self, request: web.Request) -> Document:
        info = request.match_info
        found = self._registry.get(self._kind.plural, info.get("namespace", ""), info["name"])
        if found is None:
            raise not_found(self._kind.plural, info["name"], self._kind.group)
        return found

    async def create(self, request: web.Request) -> web.Response:
        """Create one object."""
        form, kind = self._form(request), self._kind
        given = await bodies.read_object(request, kind)
        document = given.document
        metadata = document["metadata"]
        self._set_namespace(request, metadata)
        for field in _OWN:
            metadata.pop(field, None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = _generated(metadata["generateName"])
        if kind.counts_generations:
            metadata["generation"] = 1
        if kind.namespaced:
            self._storage.require_namespace(kind, metadata)
        document = rules.completed(kind, document)
        rules.require_valid(kind, document)
        stored = self._storage.create(kind, document, dry_run=bodies.is_dry_run(request))
        return answer(form.one(stored), 201, given.warnings)

    def _set_namespace(self, request: web.Request, metadata: Document) -> None:
        namespace = request.match_info.get("namespace", "")
        if not self._kind.namespaced:
            if metadata.pop("namespace", None):
                raise bad_request("namespace may not be set on a cluster-scoped object")
        elif metadata.setdefault("namespace", namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on "
                "the request"
            )

    async def update(self, request: web.Request) -> web.Response:
        """Replace one object."""
        form = self._form(request)
        given = await bodies.read_object(request, self._kind)
        before = self._found(request)
        return self._changed(request, form, before, given)

    async def patch(self, request: web.Request) -> web.Response:
        """Patch one object."""
        form = self._form(request)
        body = await request.read()
        if request.content_type not in patches.WAYS:
            raise unsupported_media_type()
        before = self._found(request)
        patched = patches.apply(before, body, request.content_type)
        validation = request.query.get("fieldValidation", "")
        given = bodies.decoded(patched, self._kind, validation)
        return self._changed(request, form, before, given)

    def _changed(
        self, request: web.Request, form: Form, before: Document, given: bodies.Given
    ) -> web.Response:
        """Check and store a changed object; only what a client may change is taken from it."""
        document = copy.deepcopy(given.document)
        self._require_same(before, document["metadata"])
        self._set_namespace(request, document["metadata"])
        document = rules.completed(self._kind, document)
        for field in _OWN:
            document["metadata"].pop(field, None)
            if field in before["metadata"]:
                document["metadata"][field] = before["metadata"][field]
        document.pop("status", None)
        if "status" in before:
            document["status"] = before["status"]
        rules.require_valid(self._kind, document, before)
        if self._kind.counts_generations and document.get("spec") != before.get("spec"):
            document["metadata"]["generation"] += 1
        if not bodies.is_dry_run(request):
            document = self._storage.change(self._kind, document)
        return answer(form.one(document), 200, given.warnings)

    def _require_same(self, before: Document, metadata: Document) -> None:
        """Raise ApiError 400 or 409 unless a change is of this object, as it is now."""
        kind, name = self._kind, before["metadata"]["name"]
        if metadata.setdefault("name", name) != name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the "
                f"URL ({name})"
            )
        uid = before["metadata"]["uid"]
        if metadata.get("uid") not in (None, "", uid):
            words = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object"
            raise conflict(kind.plural, name, kind.group, f"{words} meta: {uid}")
        version = metadata.get("resourceVersion")
        if version not in (None, "", before["metadata"]["resourceVersion"]):
            raise conflict(kind.plural, name, kind.group)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete one object; a pod ends within its grace period."""
        options = await bodies.read_delete_options(request)
        return answer(self._deleted(self._found(request), options))

    def _deleted(self, found: Document, options: bodies.DeleteOptions) -> Document:
        self._require_met(found["metadata"], options)
        deleted = self._storage.delete(self._kind, found, options.grace, dry_run=options.dry_run)
        if self._kind.plural in _RETURNED:
            return deleted
        return _success(self._kind, found["metadata"])

    def _require_met(self, metadata: Document, options: bodies.DeleteOptions) -> None:
        """Raise the 409 ApiError of a precondition that is not met."""
        for what, wanted, found, rest in (
            ("UID", options.uid, metadata["uid"], "deleted and then recreated"),
            ("ResourceVersion", options.version, metadata["resourceVersion"], "modified"),
        ):
            if wanted in (None, found):
                continue
            words = (
                f"the {what} in the precondition ({wanted}) does not match the {what} in record "
                f"({found}). The object might have been {rest}"
            )
            raise conflict(self._kind.name, metadata["name"], self._kind.group, words)

    async def delete_collection(self, request: web.Request) -> web.Response:
        """Delete all objects of a namespace, or those that the selectors choose."""
        form, query = self._form(request), request.query
        options = await bodies.read_delete_options(request)
        chosen = (query.get("labelSelector", ""), query.get("fieldSelector", ""))
        test = selector(*chosen, self._kind.fields)
        version = str(self._registry.version)
        namespace = request.match_info.get("namespace")
        found = [one for one in self._registry.all(self._kind.plural, namespace) if test(one)]
        for one in found:
            self._deleted(one, options)
        return answer(form.many(found, {"resourceVersion": version}))


def _generated(base: str) -> str:
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_GENERATED))
    return base[:_LONGEST_BASE] + letters


def _success(kind: Kind, metadata: Document) -> Document:
    details = {"name": metadata["name"], "group": kind.group, "kind": kind.plural}
    known = {key: value for key, value in details.items() if value} | {"uid": metadata["uid"]}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return {**status, "details": known}
