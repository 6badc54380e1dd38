"""The pod of a rental, and which nodes may get it."""

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgpud.catalog_settings import GpuClass
from kgpud.cluster import manifests
from kgpud.cluster.manifests import Installation
from kgpud.cluster.nodes import derive_node
from kgpud.cluster.placing import Placement
from kgpud.cluster_settings import Pods
from kgpud.config import Config
from kgpud.localcluster import scheduler
from kgpud.localcluster.pod_env import environment
from kgpud.localcluster.registry import Registry
from store.records import Rental

from . import files

RENTAL = Rental(
    pod_id="gpu-rent-1779745883-ab12cd",
    account_id="acc_1",
    name="rent",
    image="kgpu-pytorch:latest",
    gpu_model="rtx4090",
    gpu_count=2,
    cpu="2",
    memory="16Gi",
    ephemeral_storage_gib=100,
    price_per_hour=1000,
    created_at=1779745883250,
    last_activity_at=1779745883250,
    fingerprint="SHA256:abc",
)
ENV = {"B": "$(KGPU_API_TOKEN) $$ ${X}", "A": "zwölf"}


def installation(pods: Pods | None = None) -> Installation:
    config = Config(pods=pods or Pods())
    return Installation.of(config, "inst1", "https://api.example.org/v1")


def test_the_pod_is_the_golden_one() -> None:
    files.compare("pod.yaml", files.as_yaml(manifests.pod(RENTAL, ENV, installation())))


def test_the_secret_is_the_golden_one() -> None:
    made = manifests.secret(RENTAL, "kgpu_pod_x.y", installation())
    files.compare("secret.yaml", files.as_yaml(made))


def test_options_of_the_cluster_are_in_the_pod() -> None:
    pods = Pods(
        runtime_class="nvidia", host_users=False, tolerations=("a=b:NoSchedule", "c:NoExecute")
    )
    spec = manifests.pod(RENTAL, {}, installation(pods))["spec"]
    assert (spec["runtimeClassName"], spec["hostUsers"]) == ("nvidia", False)
    assert spec["tolerations"][1:3] == [
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"},
        {"key": "c", "operator": "Exists", "effect": "NoExecute"},
    ]


@cache
def _with_secret() -> Registry:
    """The local cluster's objects, the rental's Secret among them."""
    registry = Registry()
    made = manifests.secret(RENTAL, "the token", installation())
    made["metadata"]["namespace"] = "kgpu"
    registry.create("secrets", made)
    return registry


@given(
    st.dictionaries(st.from_regex(r"[A-Z_]{1,3}", fullmatch=True), st.text("$()A_é\\ ", max_size=9))
)
def test_users_find_their_environment_as_they_wrote_it(env: dict[str, str]) -> None:
    pod = manifests.pod(RENTAL, env, installation())
    pod["metadata"]["namespace"] = "kgpu"
    found = environment(_with_secret(), pod, pod["spec"]["containers"][0])
    assert {name: found[name] for name in env} == env
    assert found["KGPU_API_TOKEN"] == "the token"


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("kgpu-pytorch:latest", "Never"),
        ("our/image:1", "Never"),
        ("ghcr.io/our/image:1", "IfNotPresent"),
        ("localhost/image:1", "IfNotPresent"),
        ("registry:5000/image:1", "IfNotPresent"),
        ("docker.io/pytorch/pytorch:latest", None),
    ],
)
def test_how_images_are_pulled(image: str, policy: str | None) -> None:
    preloaded = [] if policy is None else [image]
    assert manifests.pull_policy(image, preloaded) == policy


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("docker.io/lab/torch:latest", "Never"),
        ("docker.io/lab/torch", "Never"),
        ("index.docker.io/lab/torch:latest", "Never"),
        ("docker.io/library/plain:2", "Never"),
        ("docker.io/plain:2", "Never"),
        # Another image, whatever it is called; a digest replaces no tag.
        ("docker.io/lab/torch:1", None),
        ("docker.io/lab/torch@sha256:ab", None),
        ("ghcr.io/lab/torch:latest", None),
        ("docker.io/library/lab/torch", None),
        ("ghcr.io/own/torch", "IfNotPresent"),
    ],
)
def test_nobody_replaces_a_preloaded_image_by_another_name_for_it(
    image: str, policy: str | None
) -> None:
    preloaded = ["lab/torch:latest", "plain:2", "ghcr.io/own/torch:latest"]
    assert manifests.pull_policy(image, preloaded) == policy


LABELS = st.dictionaries(
    st.sampled_from(["kgpu.net/gpu-model", "nvidia.com/gpu.product", "other"]),
    st.sampled_from(["v100", "rtx4090", "A", "B", "C"]),
)
TAINTS = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(
                ["nvidia.com/gpu", "dedicated", "node.kubernetes.io/unreachable"]
            ),
            "effect": st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"]),
        },
        optional={"value": st.sampled_from(["", "kgpu", "other"])},
    ),
    max_size=3,
)
PLACEMENT = Placement.of(
    Pods(tolerations=("dedicated=kgpu:NoSchedule",)),
    {"v100": GpuClass(1, products=("A", "B")), "rtx4090": GpuClass(1, products=("C",))},
)


def node(labels: dict[str, str], taints: list[dict[str, str]], *, cordoned: bool) -> dict[str, Any]:
    room = {
        "cpu": "64",
        "memory": "1Ti",
        "ephemeral-storage": "1Ti",
        "nvidia.com/gpu": "4",
        "pods": "9",
    }
    return {
        "metadata": {"name": "n", "labels": labels},
        "spec": {"taints": taints, "unschedulable": cordoned},
        "status": {"allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]},
    }


@given(
    labels=LABELS, taints=TAINTS, cordoned=st.booleans(), model=st.sampled_from(["v100", "rtx4090"])
)
def test_the_menu_counts_a_node_for_a_class_if_and_only_if_the_scheduler_takes_it(
    labels: dict[str, str], taints: list[dict[str, str]], cordoned: bool, model: str
) -> None:
    one = node(labels, taints, cordoned=cordoned)
    seen = derive_node(one, PLACEMENT)
    spec = {
        "containers": [],
        "affinity": PLACEMENT.affinity(model),
        "tolerations": PLACEMENT.tolerations(),
    }
    try:
        taken = bool(scheduler.place({"spec": spec}, scheduler.rooms([one], [])))
    except scheduler.UnschedulableError:
        taken = False
    away = any(t["key"].endswith("unreachable") and t["effect"] == "NoSchedule" for t in taints)
    if not away:  # a node that is away is not Ready, which is what keeps it off the menu
        assert taken == (seen.gpu_model == model and not seen.cordoned)


def test_a_node_that_is_away_says_since_when() -> None:
    one = node({}, [], cordoned=False)
    assert derive_node(one).away_since is None
    moment = "2026-11-23T09:10:11Z"
    one["status"]["conditions"] = [
        {"type": "Ready", "status": "Unknown", "lastTransitionTime": moment}
    ]
    seen = derive_node(json.loads(json.dumps(one)))
    assert (seen.ready, seen.cordoned, seen.away_since) == (False, False, 1795425011000)
