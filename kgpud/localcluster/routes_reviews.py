"""Questions about rights, answered and not stored, and tokens for service accounts."""

from datetime import UTC, datetime, timedelta

from aiohttp import web

from kgpud.localcluster import auth, bodies, rbac
from kgpud.localcluster.access import USER
from kgpud.localcluster.answers import answer
from kgpud.localcluster.errors import ApiError, bad_request, not_found
from kgpud.localcluster.registry import Document, Registry, now
from kgpud.localcluster.request_info import RequestInfo

_TOKEN_SECONDS, _FEWEST_SECONDS, _MOST_SECONDS = 3600, 600, 1 << 32
_ANY = "*"


class Reviews:
    """The handlers."""

    def __init__(self, registry: Registry, tokens: auth.Tokens) -> None:
        self._registry = registry
        self._tokens = tokens

    async def access(self, request: web.Request) -> web.Response:
        """Say whether the caller may do something: SelfSubjectAccessReview."""
        spec = await _spec(request)
        resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if not isinstance(resource or other, dict) or (resource and other):
            said = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            raise bad_request(f"spec.resourceAttributes: Invalid value: {said}")
        asked = _asked(resource) if resource else _asked_path(other or {})
        verdict = rbac.judge(self._registry, request[USER], asked)
        status: Document = {"allowed": verdict.allowed}
        if verdict.trouble:
            status["reason"] = verdict.trouble
        return _reviewed("SelfSubjectAccessReview", "authorization", {"spec": spec}, status)

    async def rules(self, request: web.Request) -> web.Response:
        """List what the caller may do in a namespace: SelfSubjectRulesReview."""
        spec = await _spec(request)
        namespace = spec.get("namespace")
        if not namespace:
            raise bad_request("no namespace on request")
        found = list(rbac.rules(self._registry, request[USER], namespace))
        status = {
            "resourceRules": [one for one in found if one.get("resources")],
            "nonResourceRules": [one for one in found if one.get("nonResourceURLs")],
            "incomplete": False,
        }
        return _reviewed("SelfSubjectRulesReview", "authorization", {"spec": {}}, status)

    async def self(self, request: web.Request) -> web.Response:
        """Say who the caller is: SelfSubjectReview."""
        user = request[USER]
        known: Document = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
        status = {"userInfo": {key: value for key, value in known.items() if value}}
        return _reviewed("SelfSubjectReview", "authentication", {}, status)

    async def token(self, request: web.Request) -> web.Response:
        """Issue a token that stands for a service account: TokenRequest."""
        info = request.match_info
        account = self._registry.get("serviceaccounts", info["namespace"], info["name"])
        if account is None:
            raise not_found("serviceaccounts", info["name"])
        spec = await _spec(request)
        asked = spec.get("expirationSeconds") or _TOKEN_SECONDS
        if not isinstance(asked, int) or asked > _MOST_SECONDS:
            raise _unrecognized()
        seconds = max(asked, _FEWEST_SECONDS)
        user = auth.service_account(info["namespace"], info["name"], account["metadata"]["uid"])
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        status = {
            "token": self._tokens.issue(user, seconds),
            "expirationTimestamp": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        named = {key: account["metadata"][key] for key in ("name", "namespace")}
        metadata = {**named, "creationTimestamp": now()}
        written = {"metadata": metadata, "spec": {**spec, "expirationSeconds": seconds}}
        return _reviewed("TokenRequest", "authentication", written, status)


async def _spec(request: web.Request) -> Document:
    """Return the spec of a review, sent as JSON or, as kubectl does it, as protobuf."""
    review = await bodies.read_body(request)
    spec = review.get("spec", {}) if isinstance(review, dict) else None
    if not isinstance(spec, dict) or not all(_is_flat(one) for one in spec.values()):
        raise _unrecognized()
    return spec


def _unrecognized() -> ApiError:
    return bad_request("the object provided is unrecognized: a review with a spec is wanted")


def _is_flat(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(one, str | dict) for one in value.values())
    return isinstance(value, str | int | list)


def _asked(attributes: Document) -> RequestInfo:
    named = {key: attributes.get(key, "") for key in ("group", "namespace", "resource", "name")}
    if named["resource"] == "":
        named["resource"] = _ANY
    below = attributes.get("subresource", "")
    return RequestInfo(attributes.get("verb", ""), "", subresource=below, **named)


def _asked_path(attributes: Document) -> RequestInfo:
    return RequestInfo(attributes.get("verb", ""), str(attributes.get("path", "")))


def _reviewed(kind: str, group: str, given: Document, status: Document) -> web.Response:
    named = {"kind": kind, "apiVersion": f"{group}.k8s.io/v1", "metadata": {}}
    return answer({**named, **given, "status": status}, status=201)
