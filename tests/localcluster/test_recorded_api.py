"""Every recorded API exchange, asked of the local cluster in the state it was recorded in."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aiohttp
import pytest

from tests.recorded import files

from .alike import differences, normal
from .clusters import Api, Document, Running, is_ready, running
from .served import TRIMMED

CASES: tuple[str, ...] = (
    "api/anonymous",
    "api/api",
    "api/api_v1",
    "api/apis",
    "api/bad_token",
    "api/discovery_aggregated",
    "api/events",
    "api/log",
    "api/log_missing_container",
    "api/method_not_allowed",
    "api/namespaces_missing",
    "api/networking_v1",
    "api/networkpolicy_bad_cidr",
    "api/networkpolicy_create",
    "api/networkpolicy_delete",
    "api/nodes",
    "api/not_acceptable",
    "api/patch_bad_type",
    "api/patch_conflict",
    "api/patch_json",
    "api/patch_merge",
    "api/patch_spec_forbidden",
    "api/patch_strategic",
    "api/pod_create",
    "api/pod_create_again",
    "api/pod_create_bad_json",
    "api/pod_create_bad_name",
    "api/pod_create_bad_quantity",
    "api/pod_create_dry_run",
    "api/pod_create_in_missing_namespace",
    "api/pod_create_no_containers",
    "api/pod_create_unknown_field_strict",
    "api/pod_create_wrong_kind",
    "api/pod_delete",
    "api/pod_delete_again_terminating",
    "api/pod_delete_missing",
    "api/pod_delete_wrong_uid",
    "api/pod_get",
    "api/pod_get_missing",
    "api/pod_get_table",
    "api/pods_in_missing_namespace",
    "api/pods_list_bad_continue",
    "api/pods_list_bad_selector",
    "api/pods_list_continue",
    "api/pods_list_field_selector",
    "api/pods_list_limit_1",
    "api/pods_list_selector",
    "api/put_stale",
    "api/ssar_allowed",
    "api/unknown_path",
    "api/version",
    "api/watch_bad_rv",
    "api/watch_from_list",
    "api/watch_future_rv",
    "api/watch_initial_events",
    "api/watch_no_rv",
    "api/watch_old_rv",
)
LEFT_OUT: dict[str, str] = {}

FLEET = """\
nodes:
- {name: rk8s-node, gpu_model: rtx4090, gpus: 4, cpu: "2", memory: 24479284Ki}
"""
POD = files.exchange("api/pod_create")["request"]["body"]
B1 = files.exchange("api/pods_list_continue")["response"]["body"]["items"][0]
PODS = "/api/v1/namespaces/default/pods"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
MERGE = {"Content-Type": "application/merge-patch+json"}

# What a1 was when a request was made, where it was not as it was created.
ABSENT = ("pod_create", "pod_delete_missing", "pods_in_missing_namespace")
ANNOTATED = (
    "patch_strategic", "patch_json", "pod_delete", "pod_delete_again_terminating"
)  # fmt: skip
LABELLED = ("patch_json",)


@pytest.fixture(scope="module")
def recorded_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "fleet.yaml").write_text(FLEET)
    with running(folder / "state", "--fleet", str(folder / "fleet.yaml")) as started:
        asyncio.run(_fill(started))
        yield started


async def _fill(cluster: Running) -> None:
    """Create the seven pods that stood beside a1, six of them out of everybody's way."""
    headers = {"Authorization": f"Bearer {cluster.token}"}
    async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
        api = Api(session)
        keep = ("containers", "terminationGracePeriodSeconds", "enableServiceLinks")
        spec = {name: B1["spec"][name] for name in (*keep, "automountServiceAccountToken")}
        metadata = {"name": "b1", "labels": B1["metadata"]["labels"]}
        await _create(api, {"metadata": metadata, "spec": spec})
        await api.until(f"{PODS}/b1", is_ready)
        for name in ("c1", "c2", "c3", "c4", "c5", "c6"):
            away = {**spec, "nodeSelector": {"no": "where"}}
            await _create(api, {"metadata": {"name": name}, "spec": away})


@pytest.fixture
async def client(recorded_cluster: Running) -> AsyncIterator[Api]:
    headers = {"Authorization": f"Bearer {recorded_cluster.token}"}
    async with aiohttp.ClientSession(recorded_cluster.url, headers=headers) as session:
        yield Api(session)


async def _create(api: Api, pod: Document) -> None:
    status, answer = await api.call("POST", PODS, pod)
    assert status == 201, answer


@pytest.fixture
async def prepared(client: Api, request: pytest.FixtureRequest) -> AsyncIterator[Document | None]:
    """Pod a1 (None where there was none) and policy np1 as they were when `case` was recorded."""
    case = request.getfixturevalue("case").removeprefix("api/")
    if case in ABSENT:
        await _remove_a1(client)
        a1 = None
    else:
        a1 = await _have_a1(client, case)
    if case == "networkpolicy_delete":
        policy = files.exchange("api/networkpolicy_create")["request"]["body"]
        assert (await client.call("POST", POLICIES, policy))[0] == 201
    if case == "pod_delete_again_terminating":
        # Its command is its PID 1 and minds no TERM: it stays for the grace period, a second.
        await client.call("DELETE", f"{PODS}/a1")
    yield a1
    if case == "networkpolicy_create":
        assert (await client.call("DELETE", f"{POLICIES}/np1"))[0] == 200


async def _remove_a1(api: Api) -> None:
    await api.call("DELETE", f"{PODS}/a1", params={"gracePeriodSeconds": "0"})
    await api.gone(f"{PODS}/a1")


async def _have_a1(api: Api, case: str) -> Document:
    status, found = await api.call("GET", f"{PODS}/a1")
    if status == 404 or not is_ready(found) or "deletionTimestamp" in found["metadata"]:
        await _remove_a1(api)
        await _create(api, POD)
        found = await api.until(f"{PODS}/a1", is_ready)
    annotations = {"x": "1"} if case in ANNOTATED else None
    labels = {"y": "2" if case in LABELLED else None}
    patch = {"metadata": {"annotations": annotations, "labels": labels}}
    status, found = await api.call("PATCH", f"{PODS}/a1", patch, headers=MERGE)
    assert status == 200
    return dict(found)


@pytest.mark.parametrize("case", CASES)
async def test_a_request_is_answered_as_it_was_recorded(
    case: str, client: Api, recorded_cluster: Running, prepared: Document | None
) -> None:
    exchange = files.exchange(case)
    request, recorded = exchange["request"], exchange["response"]
    adapt = ADAPTED.get(case.removeprefix("api/"))
    if adapt is not None:
        request = await adapt(client, request, prepared)
    headers = request.get("headers")
    if headers is None:
        token = {"Authorization": f"Bearer {recorded_cluster.token}"}
        headers = {**token, "Accept": request["accept"]}
    if "content_type" in request:
        headers["Content-Type"] = request["content_type"]
    body = request.get("body")
    text = body if isinstance(body, str) else json.dumps(body)
    # Time is not what these are about.
    path = re.sub(r"timeoutSeconds=\d+", "timeoutSeconds=1", request["path"])
    async with (
        aiohttp.ClientSession(recorded_cluster.url) as session,
        session.request(
            request["method"], path, data=text if "body" in request else None, headers=headers
        ) as response,
    ):
        answered = await response.text()
        assert response.status == recorded["status"], answered
        if "content_type" in recorded:
            assert response.headers["Content-Type"] == recorded["content_type"]
    if "watch" in recorded:
        lines = [json.loads(line) for line in answered.splitlines()]
        assert not list(differences(normal(lines), normal(recorded["watch"])))
    elif "text" in recorded:
        assert answered == recorded["text"]
    else:
        name = case.removeprefix("api/")
        body = TRIMMED[name](recorded["body"]) if name in TRIMMED else recorded["body"]
        here, there = normal(json.loads(answered)), normal(body)
        if name == "pod_delete_again_terminating":
            here, there = _unobserved(here), _unobserved(there)
        assert not list(differences(here, there))


Adapt = Callable[[Api, Document, Document | None], Awaitable[Document]]


async def _with_uid(_api: Api, request: Document, a1: Document | None) -> Document:
    """Name a1's own uid, where the request named the recorded one's."""
    assert a1 is not None
    body = json.loads(json.dumps(request["body"]))
    body["metadata"]["uid"] = a1["metadata"]["uid"]
    return {**request, "body": body}


async def _from_list(api: Api, request: Document, _a1: Document | None) -> Document:
    """Start from the version of a list of this cluster."""
    _status, listed = await api.call("GET", PODS)
    version = listed["metadata"]["resourceVersion"]
    path = request["path"].replace("resourceVersion=1382", f"resourceVersion={version}")
    return {**request, "path": path}


async def _next_page(api: Api, request: Document, _a1: Document | None) -> Document:
    """Go on from the first page of this cluster."""
    _status, page = await api.call("GET", f"{PODS}?limit=1")
    head, _token = request["path"].split("continue=")
    return {**request, "path": f"{head}continue={page['metadata']['continue']}"}


ADAPTED: dict[str, Adapt] = {
    "put_stale": _with_uid,
    "watch_from_list": _from_list,
    "pods_list_continue": _next_page,
}


def _unobserved(body: Document) -> Document:
    """Say nothing of whether the kubelet had time to see the deletion."""
    return dict(
        json.loads(re.sub(r'"observedGeneration": \d', '"observedGeneration": 0', json.dumps(body)))
    )
