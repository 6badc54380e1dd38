"""Who may do what: tokens, roles and bindings. Who may exec is test_recorded_exec's."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import test_utils, web

from kgpud.localcluster import access, auth, rbac
from kgpud.localcluster.errors import StartError
from kgpud.localcluster.registry import Registry
from kgpud.localcluster.request_info import RequestInfo, read

from .clusters import Api, Document, Running, pod, running

TOKENS = """\
token-of-sched,system:kube-scheduler,1,"a,b"
token-of-dave,dave,2

token-of-erin,erin,3,"kgpud:renters"
"""
RBAC = "/apis/rbac.authorization.k8s.io/v1"
KGPU = f"{RBAC}/namespaces/kgpu"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "tokens.csv").write_text(TOKENS)
    options = ("--token-auth-file", str(folder / "tokens.csv"))
    with running(folder / "state", *options) as started:
        yield started


@asynccontextmanager
async def _caller(cluster: Running, token: str | None, **headers: str) -> AsyncIterator[Api]:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
        yield Api(session)


async def _store(api: Api, *objects: tuple[str, Document]) -> None:
    for path, document in objects:
        status, answer = await api.call("POST", path, document)
        assert status in (201, 409), answer


def _role(name: str, *rules: Document) -> tuple[str, Document]:
    return f"{KGPU}/roles", {"metadata": {"name": name}, "rules": list(rules)}


def _bound(name: str, role: str, kind: str, subject: str, **more: str) -> tuple[str, Document]:
    subjects = [{"kind": kind, "name": subject, **more}]
    reference = {"kind": "Role", "name": role}
    body = {"metadata": {"name": name}, "subjects": subjects, "roleRef": reference}
    return f"{KGPU}/rolebindings", body


def _rule(verbs: str, resources: str, **more: Any) -> Document:
    return {"apiGroups": [""], "verbs": verbs.split(), "resources": resources.split(), **more}


async def test_a_role_gives_what_it_names_and_nothing_else(guarded: Running) -> None:
    async with _caller(guarded, guarded.token) as admin:
        await _store(
            admin,
            _role("reader", _rule("get list watch", "pods"), _rule("get", "pods/log")),
            _bound("reader", "reader", "User", "dave"),
            ("pods", pod("seen", nodeSelector={"no": "where"})),
        )
    async with _caller(guarded, "token-of-dave") as dave:
        assert (await dave.call("GET", "pods"))[0] == 200
        assert (await dave.call("GET", "pods/seen"))[0] == 200
        assert (await dave.call("GET", "pods/seen/log"))[0] == 400
        watched = await dave.call("GET", "pods?watch=1&timeoutSeconds=1&resourceVersion=1")
        assert watched[0] == 200
        for method, path, words in (
            ("GET", "/api/v1/pods", 'cannot list resource "pods" in API group "" at the cluster '),
            ("GET", "/api/v1/namespaces/default/pods", 'list resource "pods" in API group "" in '),
            ("GET", "secrets", 'secrets is forbidden: User "dave" cannot list resource "secrets"'),
            ("GET", "/api/v1/nodes/node-v100", 'nodes "node-v100" is forbidden: User "dave" can'),
            ("DELETE", "pods/seen", 'pods "seen" is forbidden: User "dave" cannot delete res'),
            ("DELETE", "pods", 'pods is forbidden: User "dave" cannot deletecollection resource'),
            ("POST", "pods", 'pods is forbidden: User "dave" cannot create resource "pods"'),
            ("PATCH", "pods/seen", 'pods "seen" is forbidden: User "dave" cannot patch'),
            ("PUT", "pods/seen", 'pods "seen" is forbidden: User "dave" cannot update'),
            ("GET", f"{KGPU}/roles", "roles.rbac.authorization.k8s.io is forbidden: User "),
            ("GET", "/metrics", 'forbidden: User "dave" cannot get path "/metrics"'),
        ):
            status, answer = await dave.call(method, path, {} if method != "GET" else None)
            assert (status, answer["reason"]) == (403, "Forbidden"), answer
            assert words in answer["message"]
        for path in ("/api", "/apis", "/api/v1", "/openapi/v3", "/version"):
            assert (await dave.call("GET", path))[0] == 200
        async with _caller(guarded, "token-of-dave", **{"Impersonate-User": "erin"}) as both:
            status, answer = await both.call("GET", "pods")
            assert answer["message"].startswith('users "erin" is forbidden: User "dave" cannot imp')


async def test_a_group_may_be_bound_and_a_name_may_be_all_that_is_allowed(guarded: Running) -> None:
    async with _caller(guarded, guarded.token) as admin:
        await _store(
            admin,
            _role("one", _rule("get delete", "secrets", resourceNames=["mine"])),
            _bound("one", "one", "Group", "kgpud:renters"),
            _bound("lost", "nowhere", "User", "erin"),
            ("secrets", {"metadata": {"name": "mine"}}),
        )
        async with _caller(guarded, "token-of-erin") as erin:
            assert (await erin.call("GET", "secrets/mine"))[0] == 200
            status, answer = await erin.call("GET", "secrets/other")
            missing = 'RBAC: role.rbac.authorization.k8s.io "nowhere" not found'
            assert (status, answer["message"].endswith(missing)) == (403, True)
            # A right that is taken away is gone with the next request.
            assert (await admin.call("DELETE", f"{KGPU}/rolebindings/one"))[0] == 200
            assert (await erin.call("GET", "secrets/mine"))[0] == 403


async def test_a_service_account_has_a_token_and_may_review_its_rights(guarded: Running) -> None:
    async with _caller(guarded, guarded.token) as admin:
        await _store(
            admin,
            ("serviceaccounts", {"metadata": {"name": "robot"}}),
            _role("robot", _rule("create get", "pods/exec")),
            _bound("robot", "robot", "ServiceAccount", "robot"),
        )
        status, issued = await admin.call("POST", "serviceaccounts/robot/token", {"spec": {}})
        assert status == 201
    async with _caller(guarded, issued["status"]["token"]) as robot:
        me = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        _status, said = await robot.call("POST", me, {"spec": {}})
        assert said["status"]["userInfo"]["username"] == "system:serviceaccount:kgpu:robot"
        reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        allowed = {}
        for verb, namespace in (("create", "kgpu"), ("create", "default"), ("delete", "kgpu")):
            attributes = {"verb": verb, "namespace": namespace, "resource": "pods"}
            attributes["subresource"] = "exec"
            body = {"spec": {"resourceAttributes": attributes}}
            _status, review = await robot.call("POST", reviews, body)
            allowed[verb, namespace] = review["status"]["allowed"]
        assert list(allowed.values()) == [True, False, False]
        rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        _status, review = await robot.call("POST", rules, {"spec": {"namespace": "kgpu"}})
        listed = review["status"]["resourceRules"]
        assert _rule("create get", "pods/exec") in listed
        malformed: list[Any] = [[], {"spec": []}, {"spec": {}}]
        for body in (*malformed, {"spec": {"resourceAttributes": {"verb": 1}}}):
            assert (await robot.call("POST", reviews, body))[0] == 400


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("roles", {"rules": [{"apiGroups": [""], "resources": ["pods"]}]}, "verbs must contain"),
        ("roles", {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}, "non-resource URLs"),
        ("roles", {"rules": [{"verbs": ["get"]}]}, "at least one api group"),
        ("rolebindings", {"roleRef": {"kind": "Pod", "name": "x"}}, "Unsupported value"),
        ("rolebindings", {"roleRef": {"kind": "Role"}}, "roleRef.name: Required value"),
        (
            "rolebindings",
            {"roleRef": {"kind": "Role", "name": "x"}, "subjects": [{"kind": "Cat", "name": "x"}]},
            "subjects[0].kind: Unsupported",
        ),
    ],
)
async def test_a_malformed_rule_is_refused(
    guarded: Running, path: str, body: Document, words: str
) -> None:
    async with _caller(guarded, guarded.token) as admin:
        document = {"metadata": {"name": "bad"}, **body}
        status, answer = await admin.call("POST", f"{KGPU}/{path}", document)
        assert (status, words in answer["message"]) == (422, True), answer


@pytest.mark.parametrize("line", ["token", ",name,uid", "token,,uid", '"a\nb'])
def test_a_token_file_that_cannot_be_read_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text(f"good,name,uid\n{line}\n")
    with pytest.raises(StartError, match=r"line 2|tokens"):
        auth.read_token_file(path, auth.Tokens())


@pytest.mark.parametrize(
    ("method", "path", "verb", "rest"),
    [
        ("GET", "/api/v1/pods", "list", ("", "", "pods", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/b", "get", ("", "a", "pods", "", "b")),
        ("POST", "/api/v1/namespaces/a/pods/b/exec", "create", ("", "a", "pods", "exec", "b")),
        ("GET", "/api/v1/namespaces", "list", ("", "", "namespaces", "", "")),
        ("DELETE", "/api/v1/namespaces/a", "delete", ("", "a", "namespaces", "", "a")),
        ("PUT", "/api/v1/namespaces/a/status", "update", ("", "a", "namespaces", "status", "a")),
        (
            "DELETE",
            "/apis/g/v1/namespaces/a/roles",
            "deletecollection",
            ("g", "a", "roles", "", ""),
        ),
        ("GET", "/apis/g/v1", "get", ("", "", "", "", "")),
        ("HEAD", "/healthz", "head", ("", "", "", "", "")),
    ],
)
def test_a_request_is_read_as_the_api_server_reads_it(
    method: str, path: str, verb: str, rest: tuple[str, ...]
) -> None:
    info = read(method, path, {})
    found = (info.group, info.namespace, info.resource, info.subresource, info.name)
    assert (info.verb, found) == (verb, rest)


def test_a_list_of_one_name_is_asked_for_by_name() -> None:
    path = "/api/v1/namespaces/a/secrets"
    selected = {"fieldSelector": "type=x,metadata.name=mine", "watch": "true"}
    assert read("GET", path, selected) == RequestInfo(
        "watch", path, namespace="a", resource="secrets", name="mine"
    )
    assert read("GET", path, {"fieldSelector": "metadata.name!=mine"}).name == ""


def test_the_first_roles_let_everybody_look_around_and_no_more() -> None:
    registry = Registry()
    rbac.store_first_roles(registry)
    someone = auth.User("someone", ("system:authenticated",))
    asked = [
        (user.name, path)
        for user in (auth.ANONYMOUS, someone, auth.ADMIN)
        for path in ("/version", "/api", "/apis/x/v1", "/metrics", "/api/v1/pods")
        if rbac.judge(registry, user, read("GET", path, {})).allowed
    ]
    assert asked == [
        ("system:anonymous", "/version"),
        *(("someone", path) for path in ("/version", "/api", "/apis/x/v1")),
        *(
            ("kubernetes-admin", path)
            for path in ("/version", "/api", "/apis/x/v1", "/metrics", "/api/v1/pods")
        ),
    ]


async def test_what_fails_is_logged_without_the_secret_in_its_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(_request: web.Request) -> web.StreamResponse:
        raise RuntimeError

    registry = Registry()
    rbac.store_first_roles(registry)
    guard = access.guarded(registry, auth.Tokens(), "hidden")
    application = web.Application(middlewares=[access.statuses, guard])
    application.router.add_get("/hidden/api/x", fail)
    async with test_utils.TestClient(test_utils.TestServer(application)) as client:
        assert (await client.get("/hidden/api/x")).status == 500
    assert "GET /api/x failed" in caplog.text
    assert "hidden" not in caplog.text
