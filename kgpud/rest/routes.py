"""The one table of what the API answers: method, path, handler, who may call, and what can fail.

Bodies, queries and answers are the handlers' types. What serves requests is built from this, and
so is the description of it.
"""

from kgpud.errors import Code
from kgpud.rest.admin_routes import ADMIN_ROUTES
from kgpud.rest.auth import Access
from kgpud.rest.handlers import account, commands, events, hostkeys, logs, menu, pods
from kgpud.rest.object_routes import OBJECT_ROUTES
from kgpud.rest.route import IDEMPOTENCY_KEY, Route

ROUTES = (
    Route("GET", "/v1/gpu-models", menu.list_gpu_models, Access.PUBLIC, steady=True),
    Route("GET", "/v1/ssh-host-keys", hostkeys.list_ssh_host_keys, Access.PUBLIC),
    Route("GET", "/v1/me", account.get_me, Access.ANY_TOKEN),
    Route("GET", "/v1/balance", account.get_balance, Access.ACCOUNT),
    Route("GET", "/v1/ledger", account.list_ledger, Access.ACCOUNT),
    Route("GET", "/v1/usage", account.list_usage, Access.ACCOUNT),
    Route("GET", "/v1/cluster", menu.list_nodes, Access.ACCOUNT),
    Route("GET", "/v1/pods", pods.list_pods, Access.ACCOUNT),
    Route(
        "POST",
        "/v1/pods",
        pods.rent_pod,
        Access.ACCOUNT,
        errors=(
            Code.INSUFFICIENT_CREDITS,
            Code.DUPLICATE,
            Code.QUOTA_EXCEEDED,
            Code.NO_CAPACITY,
            Code.CLUSTER_UNREACHABLE,
            Code.IDEMPOTENCY_IN_FLIGHT,
            Code.IDEMPOTENCY_MISMATCH,
        ),
        headers=(IDEMPOTENCY_KEY,),
    ),
    Route("GET", "/v1/pods/{pod_id}", pods.get_pod, Access.OWN_POD, steady=True),
    Route(
        "GET",
        "/v1/pods/{pod_id}/events",
        events.list_events,
        Access.OWN_POD,
        headers=(events.ACCEPT, events.LAST_EVENT_ID),
    ),
    Route(
        "GET",
        "/v1/pods/{pod_id}/logs",
        logs.get_logs,
        Access.ACCOUNT,
        errors=(Code.POD_NOT_READY, Code.POD_ENDED, Code.CLUSTER_UNREACHABLE),
        long=True,
    ),
    Route(
        "PATCH",
        "/v1/pods/{pod_id}",
        pods.rotate_key,
        Access.ACCOUNT,
        errors=(Code.DUPLICATE, Code.POD_ENDED),
    ),
    Route("DELETE", "/v1/pods/{pod_id}", pods.release_pod, Access.OWN_POD),
    Route(
        "POST",
        "/v1/pods/{pod_id}/exec",
        commands.exec_command,
        Access.ACCOUNT,
        errors=(
            Code.POD_NOT_READY,
            Code.POD_ENDED,
            Code.TOO_MANY_EXECS,
            Code.EXEC_FAILED,
            Code.CLUSTER_UNREACHABLE,
        ),
        long=True,
    ),
    *OBJECT_ROUTES,
    *ADMIN_ROUTES,
)
