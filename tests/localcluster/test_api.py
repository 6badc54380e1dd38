from typing import Any

import aiohttp

from .clusters import Api, Document, Running, pod


async def test_a_token_is_needed(cluster: Running) -> None:
    bad = {"Authorization": "Bearer nope"}
    for headers, status in ((bad, 401), ({}, 403), ({"Authorization": "Basic x"}, 403)):
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            for path in ("/api/v1/nodes", "/nope/api/v1/nodes", "/nope", "/apis"):
                answer = await Api(session).call("GET", path)
                assert (answer[0], answer[1]["code"]) == (status, status)
            code, version = await Api(session).call("GET", "/version")
            assert code == (200 if status == 403 else 401), version


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
    assert (await patch({"metadata": {"uid": "1"}}))[1]["reason"] == "Conflict"
    assert (await patch({"metadata": {"name": "other"}}))[0] == 400
    assert (await patch({"status": {"phase": "Running"}}))[1]["status"]["phase"] == "Pending"
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
    assert (await api.call("POST", "secrets", {"metadata": {"name": "later"}}))[0] == 201
    merge = {"Content-Type": "application/merge-patch+json"}
    owned = {"metadata": {"ownerReferences": [reference]}}
    assert (await api.call("PATCH", "secrets/later", owned, headers=merge))[0] == 200
    assert (await api.call("GET", "secrets/later"))[0] == 404


async def test_what_another_kind_owns_stays_as_long_as_it(api: Api) -> None:
    _status, owner = await api.call("POST", "configmaps", {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner"}
    reference["uid"] = owner["metadata"]["uid"]
    secret = {"metadata": {"name": "theirs", "ownerReferences": [reference]}}
    assert (await api.call("POST", "secrets", secret))[0] == 201
    assert (await api.call("GET", "secrets/theirs"))[0] == 200
    for path in ("secrets/theirs", "configmaps/owner"):
        await api.call("DELETE", path)


async def test_a_namespace_is_made_used_and_ended_with_all_in_it(api: Api) -> None:
    path = "/api/v1/namespaces/elsewhere"
    body = pod("there", nodeSelector={"no": "where"})
    status, answer = await api.call("POST", f"{path}/pods", body)
    assert (status, answer["details"]) == (404, {"name": "elsewhere", "kind": "namespaces"})
    status, made = await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    assert (status, made["status"]["phase"]) == (201, "Active")
    assert (await api.call("GET", f"{path}/serviceaccounts/default"))[0] == 200
    assert (await api.call("POST", f"{path}/pods", body))[0] == 201
    _status, listed = await api.call("GET", "/api/v1/pods")
    assert ("elsewhere", "there") in [
        (one["metadata"]["namespace"], one["metadata"]["name"]) for one in listed["items"]
    ]
    status, ending = await api.call("DELETE", path)
    assert (status, ending["status"]["phase"]) == (200, "Terminating")
    await api.gone(path)
    assert (await api.call("GET", f"{path}/pods"))[1]["items"] == []
    assert (await api.call("GET", f"{path}/serviceaccounts"))[1]["items"] == []
    assert (await api.call("DELETE", "/api/v1/namespaces/default"))[0] == 403


async def test_delete_minds_a_uid(api: Api) -> None:
    await api.create("minded", nodeSelector={"no": "where"})
    options = {"preconditions": {"uid": "nope"}}
    status, answer = await api.call("DELETE", "pods/minded", options)
    assert (status, answer["reason"]) == (409, "Conflict")
    options = {"preconditions": {"resourceVersion": "1"}}
    status, answer = await api.call("DELETE", "pods/minded", options)
    assert (status, answer["reason"]) == (409, "Conflict")
    status, answer = await api.call("DELETE", "pods/minded", {"dryRun": ["All"]})
    assert (status, "deletionTimestamp" in answer["metadata"]) == (200, True)
    assert "deletionTimestamp" not in (await api.get("minded"))["metadata"]
    await api.delete("minded")
