"""The HTTP side of the API server: every route on one page."""

from uuid import UUID

from aiohttp import web

from kgpud.localcluster import access, discovery, openapi
from kgpud.localcluster.auth import Tokens
from kgpud.localcluster.cluster import Cluster
from kgpud.localcluster.kinds import KINDS, Kind
from kgpud.localcluster.routes_about import About
from kgpud.localcluster.routes_exec import ExecOptions, Execs
from kgpud.localcluster.routes_objects import Objects
from kgpud.localcluster.routes_pods import Pods
from kgpud.localcluster.routes_reviews import Reviews
from kgpud.localcluster.storage import Storage

# An API server's own limit of a request's body.
_MAX_BODY = 3 << 20


def application(
    cluster: Cluster, identity: UUID, tokens: Tokens, secret_path: str, execs: ExecOptions
) -> web.Application:
    """Return the API server's application, for bearers of `tokens`.

    The same API stands below `/secret_path` without a token: kubectl sends no token over
    plain HTTP, so its kubeconfig has the secret in the server's URL instead.
    """
    guard = access.guarded(cluster.registry, tokens, secret_path)
    application = web.Application(middlewares=[access.statuses, guard], client_max_size=_MAX_BODY)
    application.on_response_prepare.append(access.add_headers)
    storage = Storage(cluster, tokens)
    storage.begin(identity)
    serving = Execs(cluster, execs)
    application.on_cleanup.append(serving.close)
    for prefix in ("", f"/{secret_path}"):
        application.add_routes(_about_routes(prefix, About()))
        application.add_routes(_review_routes(prefix, Reviews(cluster.registry, tokens)))
        application.add_routes(_pod_routes(prefix, Pods(cluster), serving))
        for kind in KINDS:
            application.add_routes(_object_routes(prefix, kind, Objects(storage, kind)))
    return application


def _about_routes(prefix: str, about: About) -> list[web.RouteDef]:
    return [
        web.get(f"{prefix}/version", about.version),
        web.get(f"{prefix}/healthz", about.healthy),
        web.get(f"{prefix}/livez", about.healthy),
        web.get(f"{prefix}/readyz", about.healthy),
        web.get(f"{prefix}/api", about.versions),
        web.get(f"{prefix}/api/v1", about.resources("")),
        web.get(f"{prefix}/apis", about.groups),
        *(web.get(f"{prefix}/apis/{name}", about.group(name)) for name in discovery.GROUPS),
        *(web.get(f"{prefix}/apis/{name}/v1", about.resources(name)) for name in discovery.GROUPS),
        web.get(f"{prefix}/openapi/v3", about.said(openapi.index())),
        *(
            web.get(f"{prefix}/openapi/v3/{path}", about.said(openapi.paths(path)))
            for path in openapi.PATHS
        ),
    ]


def _review_routes(prefix: str, reviews: Reviews) -> list[web.RouteDef]:
    authorization = f"{prefix}/apis/authorization.k8s.io/v1"
    account = f"{prefix}/api/v1/namespaces/{{namespace}}/serviceaccounts/{{name}}"
    return [
        web.post(f"{authorization}/selfsubjectaccessreviews", reviews.access),
        web.post(f"{authorization}/selfsubjectrulesreviews", reviews.rules),
        web.post(f"{prefix}/apis/authentication.k8s.io/v1/selfsubjectreviews", reviews.self),
        web.post(f"{account}/token", reviews.token),
    ]


def _pod_routes(prefix: str, pods: Pods, execs: Execs) -> list[web.RouteDef]:
    pod = f"{prefix}/api/v1/namespaces/{{namespace}}/pods/{{name}}"
    return [
        web.get(f"{pod}/exec", execs.execute),
        web.post(f"{pod}/exec", execs.execute),
        web.get(f"{pod}/log", pods.log, allow_head=False),
    ]


def _object_routes(prefix: str, kind: Kind, objects: Objects) -> list[web.RouteDef]:
    base = f"{prefix}/apis/{kind.group}/v1" if kind.group else f"{prefix}/api/v1"
    within = f"{base}/namespaces/{{namespace}}" if kind.namespaced else base
    collection, one = f"{within}/{kind.plural}", f"{within}/{kind.plural}/{{name}}"
    offered = {
        "list": web.get(collection, objects.list),
        "create": web.post(collection, objects.create),
        "deletecollection": web.delete(collection, objects.delete_collection),
        "get": web.get(one, objects.get),
        "update": web.put(one, objects.update),
        "patch": web.patch(one, objects.patch),
        "delete": web.delete(one, objects.delete),
    }
    routes = [route for verb, route in offered.items() if verb in kind.verbs]
    everywhere = [web.get(f"{base}/{kind.plural}", objects.list)] if kind.namespaced else []
    return [*routes, *everywhere]
