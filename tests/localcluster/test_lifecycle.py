import asyncio
from typing import Any

import pytest

from .clusters import WITHIN, Api, Document, is_ready, pod, waiting_reason


def _gpus(count: int, model: str) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(count)}
    return {"resources": {"limits": limits}, "nodeSelector": {"kgpu.net/gpu-model": model}}


def _scheduled(pod: Document) -> Document:
    conditions: list[Document] = pod["status"]["conditions"]
    return next(one for one in conditions if one["type"] == "PodScheduled")


async def _deleted(api: Api, name: str, version: str) -> list[Document]:
    events = []
    async with asyncio.timeout(WITHIN):
        async for event in api.watch(
            fieldSelector=f"metadata.name={name}", resourceVersion=version
        ):
            events.append(event)
            if event["type"] == "DELETED":
                break
    return events


async def test_a_pod_passes_through_the_recorded_states(api: Api) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1}
    created = await api.create("states", readinessProbe=probe)
    assert created["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert created["metadata"]["generation"] == 1
    version = created["metadata"]["resourceVersion"]
    running = await api.wait("states", lambda pod: pod["status"]["phase"] == "Running")
    container = running["status"]["containerStatuses"][0]
    assert (container["ready"], container["started"]) == (False, True)
    assert not is_ready(running)
    assert (await api.execute("states", "touch", "/tmp/ready")).code == 0
    ready = await api.wait("states", is_ready)
    assert [one["type"] for one in ready["status"]["conditions"]] == [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    marked = await api.delete("states", grace=5)
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 5
    assert marked["metadata"]["generation"] == 2
    events = await _deleted(api, "states", version)
    phases = [event["object"]["status"]["phase"] for event in events]
    assert phases[0] == "Pending"
    assert phases[-3:] == ["Failed"] * 3
    end = events[-1]["object"]
    assert end["metadata"]["deletionGracePeriodSeconds"] == 0
    terminated = end["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (143, "Error")
    assert (await api.call("GET", "pods/states"))[0] == 404


async def test_a_pod_waits_for_room_and_gets_it(api: Api) -> None:
    await api.ready("first", **_gpus(1, "rtx4090"))
    await api.create("second", **_gpus(1, "rtx4090"))
    waiting = await api.wait("second", lambda pod: "conditions" in pod["status"])
    condition = _scheduled(waiting)
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"] == (
        "0/5 nodes are available: 1 Insufficient nvidia.com/gpu, 4 node(s) didn't match Pod's "
        "node affinity/selector. no new claims to deallocate, preemption: 0/5 nodes are "
        "available: 1 No preemption victims found for incoming pod, 4 Preemption is not helpful "
        "for scheduling."
    )
    status, answer = await api.call(
        "GET", "pods/second/exec", params={"stdout": "1", "command": "true"}
    )
    assert (status, answer["message"]) == (400, "pod second does not have a host assigned")
    await api.delete("first", grace=1)
    placed = await api.wait("second", is_ready)
    assert placed["spec"]["nodeName"] == "node-rtx4090"
    await api.delete("second")


async def test_a_pod_that_has_finished_leaves_its_gpu_to_one_that_waits(api: Api) -> None:
    async def gpu(name: str) -> bytes:
        return (await api.execute(name, "nvidia-smi", "-L")).out

    one = _gpus(1, "rtx3090")
    for name in ("computes", "finishes"):
        await api.ready(name, **one)
    theirs = [await gpu(name) for name in ("computes", "finishes")]
    await api.create("waits", **one)
    await api.wait("waits", lambda pod: "conditions" in pod["status"])
    await api.execute("finishes", "kill", "-TERM", "1")  # which may take it along
    await api.wait("waits", is_ready)
    assert [await gpu("computes"), await gpu("waits")] == theirs
    for name in ("computes", "finishes", "waits"):
        await api.delete(name)


async def test_affinity_and_other_resources_place_a_pod(api: Api) -> None:
    terms = [
        {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["Tesla-V100-SXM2-32GB"]}
    ]
    required = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    placed = await api.ready("v100", affinity=affinity)
    assert placed["spec"]["nodeName"] == "node-v100"
    await api.delete("v100")
    await api.create("huge", resources={"requests": {"cpu": "65", "memory": "1Gi"}})
    waiting = await api.wait("huge", lambda pod: "conditions" in pod["status"])
    assert "5 Insufficient cpu." in _scheduled(waiting)["message"]
    await api.delete("huge")


async def test_an_unknown_image_is_never_pulled(api: Api) -> None:
    await api.create("unknown", image="nowhere.invalid/x:1")
    await api.wait("unknown", lambda pod: waiting_reason(pod) == "ErrImagePull")
    backing_off = await api.wait("unknown", lambda pod: waiting_reason(pod) == "ImagePullBackOff")
    assert backing_off["status"]["phase"] == "Pending"
    params = {"fieldSelector": "involvedObject.name=unknown"}
    _status, events = await api.call("GET", "events", params=params)
    assert {event["reason"] for event in events["items"]} == {
        "Scheduled",
        "Pulling",
        "Failed",
        "BackOff",
    }
    version = backing_off["metadata"]["resourceVersion"]
    await api.delete("unknown", grace=2)
    end = (await _deleted(api, "unknown", version))[-1]["object"]["status"]
    assert end["phase"] == "Failed"
    terminated = end["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (137, "ContainerStatusUnknown")


async def test_a_pod_waits_for_the_secret_it_names(api: Api) -> None:
    reference = {"secretKeyRef": {"name": "later", "key": "token"}}
    env = [
        {"name": "TOKEN", "valueFrom": reference},
        {"name": "PLAIN", "value": "a$(TOKEN)$$(x)"},
    ]
    await api.create("secretive", env=env)
    waiting = await api.wait(
        "secretive", lambda pod: waiting_reason(pod) == "CreateContainerConfigError"
    )
    message = waiting["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert message == 'secret "later" not found'
    secret = {"metadata": {"name": "later"}, "stringData": {"token": "sésame"}}
    await api.call("POST", "secrets", secret)
    await api.wait("secretive", is_ready)
    result = await api.execute("secretive", "sh", "-c", "echo $TOKEN $PLAIN")
    assert result.out.decode() == "sésame asésame$(x)\n"
    init = await api.execute("secretive", "grep", "-z", "^TOKEN=", "/proc/1/environ")
    assert init.out.decode() == "TOKEN=sésame\0"
    await api.delete("secretive")
    await api.call("DELETE", "secrets/later")


async def test_an_environment_that_cannot_be_had_is_not_left_empty(api: Api) -> None:
    reference = {"configMapKeyRef": {"name": "none", "key": "x"}}
    labelled = {"fieldRef": {"fieldPath": "metadata.annotations['a.b/c']"}}
    await api.create("mapped", env=[{"name": "A", "valueFrom": reference}])
    body = pod("named", env=[{"name": "A", "valueFrom": labelled}])
    body["metadata"]["annotations"] = {"a.b/c": "said"}
    assert (await api.call("POST", "pods", body))[0] == 201
    await api.wait("named", is_ready)
    assert (await api.execute("named", "sh", "-c", "echo $A")).out == b"said\n"
    refused = "CreateContainerConfigError"
    await api.wait("mapped", lambda one: waiting_reason(one) == refused)
    for name in ("mapped", "named"):
        await api.delete(name)


async def test_bytes_that_an_environment_cannot_hold(api: Api) -> None:
    nasty = "x\0--bind\0/\0/host"
    await api.create("nul", env=[{"name": "A", "value": nasty}])
    await api.wait("nul", lambda pod: waiting_reason(pod) == "CreateContainerConfigError")
    await api.delete("nul")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"command": ["sh", "\0"]}, "embedded null byte"),
        ({"workingDir": "/\ud800"}, "surrogates not allowed"),
    ],
)
async def test_what_can_be_no_argument_is_said(api: Api, change: Document, words: str) -> None:
    await api.create("odd", **change)
    waiting = await api.wait("odd", lambda pod: waiting_reason(pod) == "CreateContainerError")
    assert words in waiting["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    await api.delete("odd")


async def test_odd_but_good_values(api: Api) -> None:
    env = [{"name": "EMPTY", "value": ""}, {"name": "ODD", "value": "--bind / /\n'\"ü"}]
    await api.ready("odd", env=env)
    result = await api.execute("odd", "sh", "-c", 'echo "[$EMPTY][$ODD]"')
    assert result.out.decode() == "[][--bind / /\n'\"ü]\n"
    await api.delete("odd")


async def test_a_container_that_ends_is_started_again_or_not(api: Api) -> None:
    await api.ready("again", restartPolicy="Always")
    await api.execute("again", "touch", "/tmp/of-the-first")
    await api.execute("again", "kill", "-TERM", "1")
    back = await api.wait(
        "again",
        lambda pod: is_ready(pod) and pod["status"]["containerStatuses"][0]["restartCount"] == 1,
    )
    last = back["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert last["exitCode"] == 143
    assert (await api.execute("again", "test", "-e", "/tmp/of-the-first")).code == 1
    await api.delete("again")


async def test_deleting_at_once(api: Api) -> None:
    created = await api.ready("at-once")
    await api.delete("at-once", grace=0)
    assert (await api.call("GET", "pods/at-once"))[0] == 404
    events = await _deleted(api, "at-once", created["metadata"]["resourceVersion"])
    assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]
    assert events[-1]["object"]["status"]["phase"] == "Running"
    await api.ready("at-once")
    await api.delete("at-once")


async def test_many_pods_at_once(api: Api) -> None:
    names = [f"many-{number}" for number in range(12)]
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(api.ready(name))
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(api.delete(name))
