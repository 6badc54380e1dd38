"""Objects that Kubernetes would refuse are refused, in its words."""

import json
from typing import Any

import pytest

from .clusters import Api, Document, pod


def _affinity(expression: Document) -> Document:
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


GO = 'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal'


@pytest.mark.parametrize(
    ("code", "words", "change"),
    [
        (422, "spec.containers[0].env[0].name: Required value", {"env": [{"value": "x"}]}),
        (
            400,
            f"{GO} string into Go struct field Container.spec.containers.env of type []v1.EnvVar",
            {"env": "x"},
        ),
        (
            400,
            f"{GO} number into Go struct field EnvVar.spec.containers.env.value of type string",
            {"env": [{"name": "A", "value": 1}]},
        ),
        (
            400,
            f"{GO} number into Go struct field PodSpec.spec.nodeSelector of type string",
            {"nodeSelector": {"{a}": 1}},
        ),
        (422, "spec.volumes[0].name: Required value", {"volumes": [{}]}),
        (422, "spec.volumes[0].name: Invalid", {"volumes": [{"name": "../../x", "emptyDir": {}}]}),
        (
            422,
            'spec.volumes[1].name: Duplicate value: "v"',
            {"volumes": [{"name": "v"}, {"name": "v"}]},
        ),
        (
            422,
            'volumeMounts[0].name: Not found: "v"',
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        ),
        (422, "mountPath: Invalid", {"volumeMounts": [{"name": "v", "mountPath": "/a/../.."}]}),
        (422, "mountPath: Invalid", {"volumeMounts": [{"name": "v", "mountPath": "/"}]}),
        (
            422,
            "volumeMounts[0].subPath: Forbidden: this local cluster can't do that",
            {
                "volumes": [{"name": "v"}],
                "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "x"}],
            },
        ),
        (422, "workingDir: Invalid", {"workingDir": "here"}),
        (
            400,
            "ExecAction.spec.containers.readinessProbe.exec.command of type []string",
            {"readinessProbe": {"exec": {"command": "true"}}},
        ),
        (422, "must specify a handler type", {"readinessProbe": {"periodSeconds": 1}}),
        (400, f"{GO} number into Go struct field", {"restartPolicy": 3}),
        (
            422,
            '"Sometimes": supported values: "Always", "Never", "OnFailure"',
            {"restartPolicy": "Sometimes"},
        ),
        (
            422,
            'requests: Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi',
            {"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}}},
        ),
        (
            422,
            'resources.limits[nvidia.com/gpu]: Invalid value: "500m": must be an integer',
            {"resources": {"limits": {"nvidia.com/gpu": "500m"}}},
        ),
        (
            422,
            "env[0].valueFrom.secretKeyRef.key: Required value",
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]},
        ),
        (
            422,
            "error converting fieldPath: field label not supported: metadata.nope",
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nope"}}}]},
        ),
        (422, "printable ASCII", {"env": [{"name": "A=B"}]}),
        (422, "envFrom[0].secretRef.name: Invalid", {"envFrom": [{"secretRef": {}}]}),
        (422, "more than 1 volume type", {"volumes": [{"name": "v", "emptyDir": {}, "nfs": {}}]}),
        (422, "secret.secretName: Required", {"volumes": [{"name": "v", "secret": {}}]}),
        (422, "tcpSocket.port: Required", {"readinessProbe": {"tcpSocket": {}}}),
        (422, "tcpSocket.port: Invalid", {"readinessProbe": {"tcpSocket": {"port": 65536}}}),
        (422, "ports[0].containerPort: Required", {"ports": [{"name": "web"}]}),
        (422, "between 1 and 65535, inclusive", {"ports": [{"containerPort": -1}]}),
        (422, "not a valid selector operator", {"affinity": _affinity({"key": "a"})}),
        (422, "values: Required", {"affinity": _affinity({"key": "a", "operator": "In"})}),
        (400, "quantities must match", {"resources": {"limits": {"memory": True}}}),
        (400, f"{GO} number 2147483648 into", {"ports": [{"containerPort": 2147483648}]}),
    ],
)
async def test_a_malformed_pod_is_refused_with_the_field(
    api: Api, code: int, words: str, change: dict[str, Any]
) -> None:
    status, answer = await api.call("POST", "pods", pod("malformed", **change))
    assert (status, answer["code"]) == (code, code)
    assert words in answer["message"]
    assert (await api.call("GET", "pods/malformed"))[0] == 404


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"labels": {"a": "b c"}}, "metadata.labels: Invalid value: "),
        ({"labels": {"a": "x" * 64}}, "must be no more than 63"),
        ({"labels": {"-a": ""}}, "name part must consist of alphanumeric characters"),
        ({"labels": {"A.example/a": ""}}, "prefix part a lowercase RFC 1123 subdomain"),
        ({"annotations": {"a/b/c": ""}}, "metadata.annotations: Invalid value: "),
        ({"annotations": {"a": "x" * 262144}}, "Too long: may not be more than 262144 bytes"),
        ({"name": ""}, "name or generateName is required"),
        ({"name": "x" * 254}, "metadata.name: Invalid value: "),
    ],
)
async def test_malformed_metadata_is_refused(
    api: Api, metadata: dict[str, Any], words: str
) -> None:
    body = {"metadata": {"name": "malformed", **metadata}}
    status, answer = await api.call("POST", "secrets", body)
    assert (status, answer["reason"]) == (422, "Invalid")
    assert words in answer["message"]


async def test_unknown_fields_are_refused_warned_of_or_ignored(api: Api) -> None:
    body = pod("fields", nodeSelector={"no": "where"}, nope=1)
    text = json.dumps(body).replace('"name": "main"', '"name": "x", "name": "main"')
    said = (
        'strict decoding error: duplicate field "spec.containers[0].name", '
        'unknown field "spec.containers[0].nope"'
    )
    seen = {}
    for wanted in ("Strict", "Warn", "Ignore", "", "Loose"):
        query = {"fieldValidation": wanted, "dryRun": "All"}
        path = "/api/v1/namespaces/kgpu/pods"
        json_type = {"Content-Type": "application/json"}
        async with api.session.post(path, params=query, data=text, headers=json_type) as response:
            answer = await response.json()
            seen[wanted] = (response.status, len(response.headers.getall("Warning", [])))
            if wanted == "Strict":
                assert answer["message"].endswith(said)
            if response.status == 201:
                assert "nope" not in answer["spec"]["containers"][0]
    assert seen == {
        "Strict": (400, 0), "Warn": (201, 2), "Ignore": (201, 0), "": (201, 2), "Loose": (422, 0)
    }  # fmt: skip
    assert (await api.call("GET", "pods/fields"))[0] == 404


@pytest.mark.parametrize("options", [{"preconditions": 5}, {"dryRun": 5}, []])
async def test_malformed_options_of_a_deletion_are_refused(api: Api, options: Any) -> None:
    status, answer = await api.call("DELETE", "secrets/none", options)
    assert (status, answer["reason"]) == (400, "BadRequest")


async def test_what_would_be_left_out_of_a_pod_is_refused(api: Api) -> None:
    body = pod("malformed")
    body["spec"]["initContainers"] = [{"name": "before", "image": "bare:latest"}]
    status, answer = await api.call("POST", "pods", body)
    assert (status, answer["reason"]) == (422, "Invalid")
    assert "spec.initContainers: Forbidden" in answer["message"]


async def test_a_version_that_no_number_could_be_is_refused(api: Api) -> None:
    status, answer = await api.call("GET", f"pods?watch=1&resourceVersion={'9' * 5000}")
    assert (status, answer["code"]) == (500, 500)
    assert answer["message"].startswith("resourceVersion: Invalid value")
