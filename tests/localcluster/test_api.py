from typing import Any

import aiohttp
import pytest

from tests.recorded import files

from .clusters import Api, Document, Running, pod, recorded_answer


@pytest.mark.parametrize(
    ("case", "method", "path", "body"),
    [
        ("pod_get_missing", "GET", "pods/zzz", None),
        ("pod_delete_missing", "DELETE", "pods/a1", None),
        ("unknown_path", "GET", "/api/v1/nope", None),
        ("method_not_allowed", "PUT", "pods", {}),
        ("watch_bad_rv", "GET", "pods?watch=1&resourceVersion=abc", None),
        ("pods_list_bad_selector", "GET", "pods?labelSelector=%3D%3D%3D", None),
        ("pod_create_no_containers", "POST", "pods", "recorded"),
        ("pod_create_bad_name", "POST", "pods", "recorded"),
        ("pod_create_bad_quantity", "POST", "pods", "recorded"),
        ("pod_create_wrong_kind", "POST", "pods", "recorded"),
        ("ssar_allowed", "POST", "recorded", "recorded"),
    ],
)
async def test_answers_are_the_recorded_ones(
    api: Api, case: str, method: str, path: str, body: Any
) -> None:
    recorded = files.exchange(f"api/{case}")
    if body == "recorded":
        body = recorded["request"]["body"]
    if path == "recorded":
        path = recorded["request"]["path"]
    assert await api.call(method, path, body) == recorded_answer(case)


async def test_a_token_is_needed(cluster: Running) -> None:
    for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": "Basic x"}):
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            answer = await Api(session).call("GET", "pods")
            assert answer == recorded_answer("bad_token")
            async with session.get("/nope/api/v1/nodes") as response:
                assert response.status == 401


async def test_the_kubeconfigs_are_private(cluster: Running) -> None:
    for name in ("kubeconfig", "kubectl.kubeconfig"):
        assert (cluster.state / name).stat().st_mode & 0o777 == 0o600


async def test_the_fleet_is_the_menu(api: Api) -> None:
    status, listed = await api.call("GET", "/api/v1/nodes")
    assert status == 200
    assert listed["kind"] == "NodeList"
    menu = {
        node["metadata"]["labels"]["kgpu.net/gpu-model"]: (
            node["metadata"]["labels"]["nvidia.com/gpu.product"],
            node["status"]["allocatable"]["nvidia.com/gpu"],
        )
        for node in listed["items"]
    }
    assert menu == {
        "rtx3080": ("NVIDIA-GeForce-RTX-3080", "1"),
        "rtx3090": ("NVIDIA-GeForce-RTX-3090", "2"),
        "rtx4090": ("NVIDIA-GeForce-RTX-4090", "1"),
        "rtx5090": ("NVIDIA-GeForce-RTX-5090", "1"),
        "v100": ("Tesla-V100-SXM2-32GB", "4"),
    }


async def test_a_name_is_taken_once(api: Api, full: str) -> None:
    status, answer = await api.call("POST", "pods", pod(full))
    assert (status, answer["reason"]) == (409, "AlreadyExists")
    assert answer["message"] == f'pods "{full}" already exists'


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("spec.containers[0].env[0].name", {"env": [{"value": "x"}]}),
        ("spec.containers[0].env", {"env": "x"}),
        ("spec.containers[0].env[0].value", {"env": [{"name": "A", "value": 1}]}),
        ("spec.nodeSelector.a", {"nodeSelector": {"a": 1}}),
        ("spec.volumes[0].name", {"volumes": [{}]}),
        ("spec.volumes.name", {"volumes": [{"name": "../../x", "emptyDir": {}}]}),
        ("mountPath", {"volumeMounts": [{"name": "v", "mountPath": "/a/../.."}]}),
        ("mountPath", {"volumeMounts": [{"name": "v", "mountPath": "/"}]}),
        ("workingDir", {"workingDir": "here"}),
        ("readinessProbe.exec.command", {"readinessProbe": {"exec": {"command": "true"}}}),
        ("spec.restartPolicy", {"restartPolicy": 3}),
    ],
)
async def test_a_malformed_pod_is_refused_with_the_field(
    api: Api, field: str, change: dict[str, Any]
) -> None:
    status, answer = await api.call("POST", "pods", pod("malformed", **change))
    assert status in (400, 422)
    assert field in answer["message"]
    assert (await api.call("GET", "pods/malformed"))[0] == 404


async def test_selectors(api: Api) -> None:
    labelled = pod("labelled", nodeSelector={"no": "where"})
    labelled["metadata"]["labels"] = {"app": "kgpu", "tier": "x"}
    assert (await api.call("POST", "pods", labelled))[0] == 201
    names = []
    for selector in (
        {"labelSelector": "app=kgpu,tier==x"},
        {"labelSelector": "tier in (x, y),app"},
        {"labelSelector": "app!=kgpu"},
        {"fieldSelector": "metadata.name=labelled,status.phase=Pending"},
        {"fieldSelector": "metadata.name!=labelled"},
    ):
        _status, listed = await api.call("GET", "pods", params=selector)
        names.append("labelled" in [one["metadata"]["name"] for one in listed["items"]])
    assert names == [True, True, False, True, False]
    await api.delete("labelled")


async def test_a_patch_changes_metadata_and_nothing_else(api: Api) -> None:
    created = await api.create("patched", nodeSelector={"no": "where"})
    merge = {"Content-Type": "application/merge-patch+json"}

    async def patch(body: Document, headers: dict[str, str] = merge) -> tuple[int, Any]:
        return await api.call("PATCH", "pods/patched", body, headers=headers)

    status, patched = await patch({"metadata": {"labels": {"a": "1"}, "annotations": {"b": "2"}}})
    assert status == 200
    assert patched["metadata"]["labels"] == {"a": "1"}
    status, patched = await patch({"metadata": {"labels": {"a": None}}})
    assert "labels" not in patched["metadata"]
    assert int(patched["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    assert (await patch({"spec": {"restartPolicy": "Always"}}))[0] == 422
    assert (await patch({"metadata": {"resourceVersion": "1"}}))[1]["reason"] == "Conflict"
    assert (await patch({}, {"Content-Type": "application/json"}))[0] == 415
    await api.delete("patched")


async def test_a_watch_goes_on_from_a_version_and_an_old_one_is_expired(api: Api) -> None:
    _status, listed = await api.call("GET", "pods")
    version = listed["metadata"]["resourceVersion"]
    await api.create("watched", nodeSelector={"no": "where"})
    await api.delete("watched")
    seen = []
    async for event in api.watch(resourceVersion=version, fieldSelector="metadata.name=watched"):
        seen.append(event["type"])
        if event["type"] == "DELETED":
            break
    assert seen == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    expired = [event async for event in api.watch(resourceVersion="1")]
    assert expired[0]["type"] == "ERROR"
    assert expired[0]["object"]["code"] == 410
    assert expired[0]["object"]["reason"] == "Expired"
    quiet = [event async for event in api.watch(resourceVersion="99999999", timeoutSeconds="1")]
    assert quiet == []


async def test_a_watch_with_initial_events_says_when_they_end(api: Api, full: str) -> None:
    params = {"sendInitialEvents": "true", "allowWatchBookmarks": "true"}
    events = []
    async for event in api.watch(fieldSelector=f"metadata.name={full}", **params):
        events.append(event)
        if event["type"] == "BOOKMARK":
            break
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    annotations = events[1]["object"]["metadata"]["annotations"]
    assert annotations == {"k8s.io/initial-events-end": "true"}


async def test_a_secret_is_stored_patched_and_deleted(api: Api) -> None:
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "x"}}
    status, created = await api.call("POST", "secrets", secret)
    assert status == 201
    assert (created["data"], created["type"]) == ({"a": "eA=="}, "Opaque")
    merge = {"Content-Type": "application/merge-patch+json"}
    _status, patched = await api.call("PATCH", "secrets/s", {"data": {"b": "eQ=="}}, headers=merge)
    assert patched["data"] == {"a": "eA==", "b": "eQ=="}
    assert (await api.call("DELETE", "secrets/s"))[1]["status"] == "Success"
    assert (await api.call("GET", "secrets/s"))[0] == 404


async def test_a_secret_goes_with_the_pod_that_owns_it(api: Api) -> None:
    owner = await api.create("owner", nodeSelector={"no": "where"})
    reference = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    secret = {"metadata": {"name": "owned", "ownerReferences": [reference]}, "data": {}}
    assert (await api.call("POST", "secrets", secret))[0] == 201
    assert (await api.call("GET", "secrets/owned"))[0] == 200
    await api.delete("owner")
    assert (await api.call("GET", "secrets/owned"))[0] == 404
    late = {"metadata": {"name": "late", "ownerReferences": [reference]}, "data": {}}
    assert (await api.call("POST", "secrets", late))[0] == 201
    assert (await api.call("GET", "secrets/late"))[0] == 404


async def test_any_namespace_may_be_used(api: Api) -> None:
    path = "/api/v1/namespaces/elsewhere"
    status, document = await api.call("GET", path)
    assert (status, document["status"]["phase"]) == (200, "Active")
    body = pod("there", nodeSelector={"no": "where"})
    assert (await api.call("POST", f"{path}/pods", body))[0] == 201
    _status, listed = await api.call("GET", "/api/v1/pods")
    assert ("elsewhere", "there") in [
        (one["metadata"]["namespace"], one["metadata"]["name"]) for one in listed["items"]
    ]
    assert (await api.call("DELETE", f"{path}/pods/there"))[0] == 200


async def test_delete_minds_a_uid(api: Api) -> None:
    await api.create("minded", nodeSelector={"no": "where"})
    options = {"preconditions": {"uid": "nope"}}
    status, answer = await api.call("DELETE", "pods/minded", options)
    assert (status, answer["reason"]) == (409, "Conflict")
    await api.delete("minded")
