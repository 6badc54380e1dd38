"""Requests about stored objects: get, list, watch, create, patch, delete."""

import base64
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from kgpud.localcluster import pod_spec, shapes, tables, watch
from kgpud.localcluster.cluster import Cluster, require_uid
from kgpud.localcluster.discovery import RESOURCES, Resource
from kgpud.localcluster.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    method_not_allowed,
    no_such_path,
    not_found,
)
from kgpud.localcluster.registry import Document
from kgpud.localcluster.selectors import selector

_MERGING = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_PATCHED = ("labels", "annotations", "finalizers", "ownerReferences")


class Objects:
    """The handlers; each takes a request whose path names api, plural, namespace and name."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._registry = cluster.registry

    async def list(self, request: web.Request) -> web.StreamResponse:
        """List a kind, or watch it."""
        resource = _resource(request)
        namespace = request.match_info.get("namespace")
        query = request.query
        test = selector(query.get("labelSelector", ""), query.get("fieldSelector", ""))
        if query.get("watch") in ("1", "true"):
            scope = watch.Scope(resource.plural, resource.kind, namespace, test)
            return await watch.serve(request, self._registry, scope)
        found = [one for one in self._registry.all(resource.plural, namespace) if test(one)]
        version = str(self._registry.version)
        if tables.wanted(request.headers.get("Accept", "")):
            return web.json_response(tables.table(resource.plural, found, version))
        items = [{k: v for k, v in one.items() if k not in ("kind", "apiVersion")} for one in found]
        return web.json_response(
            {
                "kind": f"{resource.kind}List",
                "apiVersion": resource.api,
                "metadata": {"resourceVersion": version},
                "items": items,
            }
        )

    async def get(self, request: web.Request) -> web.Response:
        """Get one object."""
        resource = _resource(request)
        if resource.plural == "namespaces":
            pod_spec.require_name("Namespace", request.match_info["name"])
            return web.json_response(self._cluster.namespace(request.match_info["name"]))
        found = self._find(resource, request)
        if tables.wanted(request.headers.get("Accept", "")):
            version = found["metadata"]["resourceVersion"]
            return web.json_response(tables.table(resource.plural, [found], version))
        return web.json_response(found)

    def _find(self, resource: Resource, request: web.Request) -> Document:
        name = request.match_info["name"]
        found = self._registry.get(resource.plural, request.match_info.get("namespace", ""), name)
        if found is None:
            raise not_found(resource.plural, name)
        return found

    async def create(self, request: web.Request) -> web.Response:
        """Create one object."""
        resource = _resource(request, "create")
        document = pod_spec.parse_object(await request.read(), resource.kind)
        metadata = document["metadata"]
        namespace = request.match_info["namespace"]
        if metadata.setdefault("namespace", namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the request")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = f"{metadata['generateName']}{self._registry.version:05x}"
        for given in ("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"):
            metadata.pop(given, None)
        if resource.plural == "pods":
            return self._created(request, pod_spec.complete(document), self._cluster.create_pod)
        pod_spec.require_name(resource.kind, metadata.get("name"))
        shapes.check(resource.kind, document, shapes.STORED)
        if resource.plural == "secrets":
            _fold_secret(document)
        document = {"kind": resource.kind, "apiVersion": resource.api, **document}

        def store(wanted: Document) -> Document:
            self._cluster.namespace(namespace)
            try:
                return self._registry.create(resource.plural, wanted)
            except KeyError:
                raise already_exists(resource.plural, metadata["name"]) from None

        answer = self._created(request, document, store)
        for reference in metadata.get("ownerReferences") or []:
            self._cluster.collect(reference.get("uid", ""))
        return answer

    def _created(
        self, request: web.Request, document: Document, store: Callable[[Document], Document]
    ) -> web.Response:
        if request.query.get("dryRun") == "All":
            return web.json_response(document, status=201)
        return web.json_response(store(document), status=201)

    async def patch(self, request: web.Request) -> web.Response:
        """Merge a patch into an object's metadata, and into a secret's data."""
        resource = _resource(request, "patch")
        if request.content_type not in _MERGING:
            raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        found = self._find(resource, request)
        patch = await _json_object(request)
        wanted = (patch.get("metadata") or {}).pop("resourceVersion", None)
        metadata = found["metadata"]
        if wanted is not None and wanted != metadata["resourceVersion"]:
            raise conflict(resource.plural, metadata["name"])
        merged: Document = _merge(found, patch)
        if resource.plural == "pods" and merged.get("spec") != found["spec"]:
            words = (
                "Forbidden: pod updates may not change fields other than "
                "`spec.containers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations`"
            )
            raise invalid("Pod", metadata["name"], "spec", "FieldValueForbidden", words)
        shapes.check(resource.kind, {**merged, "spec": {}}, shapes.STORED)
        if resource.plural == "secrets":
            _fold_secret(merged)

        def edit(document: Document) -> None:
            for key, value in merged.items():
                if key == "metadata":
                    for field in _PATCHED:
                        _put(document["metadata"], field, value.get(field))
                elif key not in ("kind", "apiVersion", "status"):
                    document[key] = value

        key = (metadata.get("namespace", ""), metadata["name"])
        return web.json_response(self._registry.replace(resource.plural, *key, edit))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete one object; a pod ends within its grace period."""
        resource = _resource(request, "delete")
        found = self._find(resource, request)
        options = await _json_object(request) if request.can_read_body else {}
        grace = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
        if resource.plural == "pods":
            require_uid(found, (options.get("preconditions") or {}).get("uid"))
            if grace is not None and not str(grace).lstrip("-").isdecimal():
                raise bad_request(f"gracePeriodSeconds: a whole number is wanted, not {grace}")
            seconds = None if grace is None else max(0, int(grace))
            return web.json_response(self._cluster.delete_pod(found, seconds))
        metadata = found["metadata"]
        self._registry.delete(resource.plural, metadata.get("namespace", ""), metadata["name"])
        details = {"name": metadata["name"], "kind": resource.plural, "uid": metadata["uid"]}
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return web.json_response({**status, "details": details})


def _resource(request: web.Request, verb: str = "get") -> Resource:
    info = request.match_info
    api = f"{info['group']}/v1" if "group" in info else "v1"
    resource = RESOURCES.get(info.get("plural", "namespaces"))
    if resource is None or resource.api != api:
        raise no_such_path()
    if resource.namespaced is False and "namespace" in info:
        raise no_such_path()
    if verb not in resource.verbs:
        raise method_not_allowed()
    return resource


async def _json_object(request: web.Request) -> dict[str, Any]:
    body = await request.read()
    try:
        document = json.loads(body or b"{}")
    except ValueError as error:
        raise bad_request(f"error decoding: {error}") from None
    if not isinstance(document, dict):
        raise bad_request("an object is wanted")
    return document


def _merge(target: Any, patch: Any) -> Any:  # noqa: ANN401  (JSON merge patch is about any JSON)
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _put(target: Document, key: str, value: object) -> None:
    if value:
        target[key] = value
    else:
        target.pop(key, None)


def _fold_secret(secret: Document) -> None:
    """Move stringData into data, as the API server stores it."""
    plain = secret.pop("stringData", None) or {}
    data = dict(secret.get("data") or {})
    for key, value in plain.items():
        data[key] = base64.b64encode(str(value).encode()).decode()
    for key, value in data.items():
        try:
            base64.b64decode(value, validate=True)
        except (ValueError, TypeError):
            raise bad_request(
                'Secret in version "v1" cannot be handled as a Secret: illegal base64 data'
                f" in data.{key}"
            ) from None
    secret["data"] = data
    secret.setdefault("type", "Opaque")
