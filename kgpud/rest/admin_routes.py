"""The part of the table that is for maintainers."""

from kgpud.errors import Code
from kgpud.rest.auth import Access
from kgpud.rest.handlers import admin_pods, admin_trail, admin_users, metrics
from kgpud.rest.route import Handler, Route


def _route(method: str, path: str, handler: Handler, *errors: Code) -> Route:
    return Route(method, f"/v1/admin{path}", handler, Access.MAINTAINER, errors)


ADMIN_ROUTES = (
    _route("GET", "/users", admin_users.list_users),
    _route("POST", "/users", admin_users.add_user, Code.DUPLICATE),
    _route("GET", "/users/{user}", admin_users.get_user),
    _route("PATCH", "/users/{user}", admin_users.change_user, Code.CONFLICT),
    _route("DELETE", "/users/{user}", admin_users.delete_user, Code.CONFLICT),
    _route("POST", "/users/{user}/approve", admin_users.approve_user, Code.CONFLICT),
    _route("POST", "/users/{user}/suspend", admin_users.suspend_user, Code.CONFLICT),
    _route("POST", "/users/{user}/reinstate", admin_users.reinstate_user, Code.CONFLICT),
    _route("POST", "/users/{user}/credits", admin_users.credit_user, Code.CONFLICT),
    _route("POST", "/users/{user}/token", admin_users.issue_token, Code.CONFLICT),
    _route("DELETE", "/users/{user}/token", admin_users.revoke_token),
    _route("GET", "/pods", admin_pods.list_all_pods, Code.NOT_FOUND),
    _route("GET", "/pods/{pod_id}", admin_pods.get_any_pod),
    _route("DELETE", "/pods/{pod_id}", admin_pods.release_any_pod),
    _route("GET", "/actions", admin_trail.list_actions, Code.NOT_FOUND),
    _route("GET", "/sessions", admin_trail.list_sessions, Code.NOT_FOUND),
    _route("GET", "/metrics", metrics.get_metrics),
)
