"""The HTTP side of the API server: every route on one page, behind one bearer token."""

import json
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from kgpud.localcluster import discovery
from kgpud.localcluster.cluster import Cluster
from kgpud.localcluster.errors import ApiError, method_not_allowed, no_such_path
from kgpud.localcluster.registry import Document
from kgpud.localcluster.routes_exec import ExecOptions, Execs
from kgpud.localcluster.routes_objects import Objects
from kgpud.localcluster.routes_pods import Pods

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MAX_BODY = 8 << 20


def application(
    cluster: Cluster, token: str, secret_path: str, execs: ExecOptions
) -> web.Application:
    """Return the API server's application, for bearers of `token`.

    The same API stands below `/secret_path` without a token: kubectl sends no token over
    plain HTTP, so its kubeconfig has the secret in the server's URL instead.
    """
    application = web.Application(
        middlewares=[_statuses, _authenticated(token, secret_path)], client_max_size=_MAX_BODY
    )
    objects, pods, exec_ = Objects(cluster), Pods(cluster), Execs(cluster, execs)
    for prefix in ("", f"/{secret_path}"):
        application.add_routes(_routes(prefix, objects, pods, exec_))
    return application


def _routes(prefix: str, objects: Objects, pods: Pods, execs: Execs) -> list[web.RouteDef]:
    core, groups = f"{prefix}/api/v1", f"{prefix}/apis/{{group}}/v1"
    pod = f"{core}/namespaces/{{namespace}}/pods/{{name}}"
    return [
        web.get(f"{prefix}/version", _said(discovery.VERSION)),
        *(web.get(f"{prefix}/{name}", _healthy) for name in ("healthz", "livez", "readyz")),
        web.get(f"{prefix}/api", _api),
        web.get(f"{prefix}/apis", _said(discovery.groups())),
        web.get(core, _said(discovery.resources("v1"))),
        web.get(groups, _group),
        web.post(f"{prefix}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", _review),
        web.get(f"{pod}/exec", execs.execute),
        web.post(f"{pod}/exec", execs.execute),
        web.get(f"{pod}/log", pods.log),
        *_object_routes(objects, f"{core}/namespaces/{{namespace}}/{{plural}}"),
        *_object_routes(objects, f"{groups}/namespaces/{{namespace}}/{{plural}}"),
        web.get(f"{core}/namespaces", objects.list),
        web.get(f"{core}/namespaces/{{name}}", objects.get),
        web.get(f"{core}/{{plural}}", objects.list),
        web.get(f"{core}/{{plural}}/{{name}}", objects.get),
        web.get(f"{groups}/{{plural}}", objects.list),
    ]


def _object_routes(objects: Objects, path: str) -> list[web.RouteDef]:
    return [
        web.get(path, objects.list),
        web.post(path, objects.create),
        web.get(path + "/{name}", objects.get),
        web.patch(path + "/{name}", objects.patch),
        web.delete(path + "/{name}", objects.delete),
    ]


@web.middleware
async def _statuses(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Turn errors into Status documents."""
    try:
        return await handler(request)
    except ApiError as error:
        return web.json_response(error.document(), status=error.code)
    except web.HTTPMethodNotAllowed:
        return web.json_response(method_not_allowed().document(), status=405)
    except web.HTTPNotFound:
        return web.json_response(no_such_path().document(), status=404)


def _authenticated(token: str, secret_path: str) -> Middleware:
    wanted = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="replace")
        first = request.path.split("/", 2)[1].encode(errors="replace")
        if not secrets.compare_digest(first, secret_path.encode()) and not secrets.compare_digest(
            given, wanted
        ):
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return await handler(request)

    return check


def _said(document: Document) -> _Handler:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(document)

    return answer


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _api(request: web.Request) -> web.Response:
    return web.json_response(discovery.api_versions(request.host))


async def _group(request: web.Request) -> web.Response:
    document = discovery.resources(f"{request.match_info['group']}/v1")
    if not document["resources"]:
        raise no_such_path()
    return web.json_response(document)


async def _review(request: web.Request) -> web.Response:
    try:
        review = json.loads(await request.read())
    except ValueError:  # kubectl sends protobuf, and takes JSON for an answer
        review = {}
    answer = {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": review.get("spec", {}),
        "status": {"allowed": True},
    }
    return web.json_response(answer, status=201)
