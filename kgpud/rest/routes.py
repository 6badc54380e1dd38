"""The one table of what the API answers: method, path, handler, who may call, and the shapes.

What serves requests is built from it, and so will be the description of it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kgpud.rest import account, hostkeys, menu, pods, run
from kgpud.rest.answers import Answer
from kgpud.rest.auth import Access
from kgpud.rest.call import Call
from kgpud.rest.requests import Body, Exec, Rent, Rotate

Handler = Callable[[Call[Any]], Awaitable[Answer | Sequence[Answer]]]


@dataclass(frozen=True)
class Route:
    """One operation. `accepts` is its body's model, None for a call without one."""

    method: str
    path: str
    handler: Handler
    access: Access
    accepts: type[Body] | None = None


ROUTES = (
    Route("GET", "/", menu.about, Access.PUBLIC),
    Route("GET", "/v1/gpu-models", menu.gpu_models, Access.PUBLIC),
    Route("GET", "/v1/ssh-host-keys", hostkeys.index, Access.PUBLIC),
    Route("GET", "/v1/me", account.me, Access.ANY_TOKEN),
    Route("GET", "/v1/balance", account.balance, Access.ACCOUNT),
    Route("GET", "/v1/cluster", menu.cluster, Access.ACCOUNT),
    Route("GET", "/v1/pods", pods.index, Access.ACCOUNT),
    Route("POST", "/v1/pods", pods.rent, Access.ACCOUNT, Rent),
    Route("GET", "/v1/pods/{pod_id}", pods.show, Access.OWN_POD),
    Route("PATCH", "/v1/pods/{pod_id}", pods.rotate, Access.ACCOUNT, Rotate),
    Route("DELETE", "/v1/pods/{pod_id}", pods.release, Access.OWN_POD),
    Route("POST", "/v1/pods/{pod_id}/exec", run.exec_command, Access.ACCOUNT, Exec),
)
