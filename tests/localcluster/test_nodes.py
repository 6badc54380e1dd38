"""Nodes that are cordoned or tainted, and pods that tolerate it."""

import pytest

from .clusters import Api, Document, is_ready, pod

CORDON = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}
ANY = {"key": "a", "operator": "Exists"}
TAINT = {"key": "a", "value": "b", "effect": "NoSchedule"}


async def _patch(api: Api, spec: Document) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    where = "/api/v1/nodes/node-v100"
    status, answer = await api.call("PATCH", where, {"spec": spec}, headers=headers)
    assert status == 200, answer


@pytest.mark.parametrize(
    ("spec", "words", "toleration"),
    [
        ({"unschedulable": True}, "1 node(s) were unschedulable", CORDON),
        ({"taints": [TAINT]}, "1 node(s) had untolerated taint(s)", TAINT),
        ({"taints": [{**TAINT, "effect": "NoExecute"}]}, "1 node(s) had untolerated taint(s)", ANY),
    ],
)  # fmt: skip
async def test_nothing_new_comes_to_a_node_that_keeps_it_off(
    api: Api, spec: Document, words: str, toleration: Document
) -> None:
    there = {"nodeSelector": {"kubernetes.io/hostname": "node-v100"}}
    await _patch(api, spec)
    try:
        await api.create("kept", **there)
        waiting = await api.wait("kept", lambda one: bool(one["status"].get("conditions")))
        assert words in waiting["status"]["conditions"][0]["message"]
        await api.ready("let", **there, tolerations=[toleration])
    finally:
        await _patch(api, {"unschedulable": None, "taints": None})
    await api.wait("kept", is_ready)
    for name in ("kept", "let"):
        await api.delete(name)


async def test_a_soft_taint_keeps_nothing_off(api: Api) -> None:
    await _patch(api, {"taints": [{**TAINT, "effect": "PreferNoSchedule"}]})
    try:
        await api.ready("soft", nodeSelector={"kubernetes.io/hostname": "node-v100"})
    finally:
        await _patch(api, {"taints": None})
    await api.delete("soft")


@pytest.mark.parametrize(
    ("taint", "words"),
    [
        ({"key": "a"}, "metadata.taints[0].effect: Required value"),
        ({"key": "a", "effect": "Never"}, 'Unsupported value: "Never"'),
        ({"effect": "NoSchedule"}, "metadata.taints[0].key: Invalid value"),
    ],
)
async def test_a_malformed_taint_is_refused(api: Api, taint: Document, words: str) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    where, patch = "/api/v1/nodes/node-v100", {"spec": {"taints": [taint]}}
    status, answer = await api.call("PATCH", where, patch, headers=headers)
    assert status == 422
    assert words in answer["message"]


async def test_a_runtime_class_that_there_is_not_is_refused(api: Api) -> None:
    status, answer = await api.call("POST", "pods", pod("classy", runtimeClassName="nvidia"))
    said = 'pods "classy" is forbidden: pod rejected: RuntimeClass "nvidia" not found'
    assert (status, answer["message"]) == (403, said)
