"""Before any handler: who is it, and may they? And after it: errors as Status documents."""

import dataclasses
import hmac
import logging
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from kgpud.localcluster import auth, rbac, request_info
from kgpud.localcluster.answers import answer
from kgpud.localcluster.auth import User
from kgpud.localcluster.errors import ApiError, forbidden, method_not_allowed, no_such_path
from kgpud.localcluster.registry import Registry
from kgpud.localcluster.request_info import RequestInfo

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
USER = web.RequestKey("user", User)
INFO = web.RequestKey("info", RequestInfo)


async def add_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Give every answer the headers that an API server's have."""
    response.headers.setdefault("Audit-Id", str(uuid.uuid4()))
    response.headers.setdefault("Cache-Control", "no-cache, private")


@web.middleware
async def statuses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into Status documents."""
    try:
        return await handler(request)
    except ApiError as error:
        return failure(error)
    except web.HTTPMethodNotAllowed:
        return failure(method_not_allowed())
    except web.HTTPNotFound:
        return failure(no_such_path())
    except web.HTTPRequestEntityTooLarge:
        said = "Request entity too large: limit is 3145728"
        return failure(ApiError(413, "RequestEntityTooLarge", said, {}))
    except web.HTTPException:
        raise
    except ConnectionError:
        # Its client left before it had an answer: this one is for nobody, and no news for a log.
        said = "nobody listens"
    except Exception:
        # Not the request's own path, which may begin with the secret.
        path = request[INFO].path if INFO in request else "(not read yet)"
        log.exception("%s %s failed", request.method, path)
        said = "see the local cluster's stderr"
    return failure(ApiError(500, "InternalError", f"Internal error occurred: {said}"))


def failure(error: ApiError) -> web.Response:
    """Return an error's Status document as an answer."""
    return answer(error.document(), status=error.code)


def guarded(registry: Registry, tokens: auth.Tokens, secret_path: str) -> Middleware:
    """Return the middleware that lets in who the tokens and the stored rules let in.

    What stands below `/secret_path` is the administrator's, without a token.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        first, _slash, rest = request.path.removeprefix("/").partition("/")
        if hmac.compare_digest(first.encode(errors="replace"), secret_path.encode()):
            user, path = auth.ADMIN, f"/{rest}"
        else:
            user, path = tokens.user(request.headers.get("Authorization")), request.path
        user = _acting(registry, user, request)
        info = request_info.read(request.method, path, request.query)
        rbac.require(registry, user, info)
        request[USER], request[INFO] = user, info
        return await handler(request)

    return guard


def _acting(registry: Registry, user: User, request: web.Request) -> User:
    """Return whom a request is made as: its user, or the one it may and wants to impersonate."""
    wanted_groups = request.headers.getall("Impersonate-Group", [])
    acting = auth.impersonated(request.headers, wanted_groups)
    if acting is None:
        return user
    for resource, names in (("users", [acting.name]), ("groups", wanted_groups)):
        for name in names:
            asked = RequestInfo("impersonate", request.path, resource=resource, name=name)
            rbac.require(registry, user, asked)
    return acting


def require_create(registry: Registry, request: web.Request) -> None:
    """Raise the 403 ApiError of an exec by GET whose user may not `create` one as well.

    Kubernetes asks for both since 1.35, and says no more than that it is forbidden.
    """
    asked = dataclasses.replace(request[INFO], verb="create")
    if not rbac.judge(registry, request[USER], asked).allowed:
        raise forbidden(asked.group, asked.resource, asked.name, "")
