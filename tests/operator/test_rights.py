"""The daemon's role: all of it is needed, and nothing else."""

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
import yaml

from gateway.capture import run
from gateway.executor import Executor
from gateway.outcome import ExecRefused
from gateway.protocols import PodRef
from kgpud.cluster import install, manifests
from kgpud.cluster.client import Cluster
from kgpud.cluster.errors import Refused
from kgpud.cluster.manifests import Installation
from kgpud.cluster.rights import RIGHTS
from kgpud.config import Config

from .installing import Installed
from .test_pod import RENTAL

INSTALLATION = Installation.of(Config(), "test", "http://127.0.0.1:1/v1")
EACH = [(right.resource, verb) for right in RIGHTS for verb in right.verbs]
POD = {
    **manifests.pod(replace(RENTAL, gpu_model="v100"), {}, INSTALLATION),
    "metadata": {"name": "stays", "labels": {}},
}
SECRET = {"metadata": {"name": "s"}, "data": {}}


@contextmanager
def without(prepared: Installed, resource: str, verb: str) -> Iterator[None]:
    """Take one verb of one resource away meanwhile."""
    whole = install.documents(Config())
    changed = copy.deepcopy(whole)
    for role in changed:
        for rule in role.get("rules", ()):
            if resource in rule["resources"]:
                rule["verbs"].remove(verb)
        if "rules" in role:
            role["rules"] = [rule for rule in role["rules"] if rule["verbs"]]
    roles = ("Role", "ClusterRole")
    prepared.give([one for one in changed if one["kind"] in roles])
    try:
        yield
    finally:
        prepared.give([one for one in whole if one["kind"] in roles])


async def first(events: AsyncIterator[Any]) -> None:
    async with aclosing(cast("Any", events)) as begun:
        async for _ in begun:
            break


async def execute(cluster: Cluster) -> None:
    pod = PodRef(cluster.namespace, "stays", "main")
    await run(Executor(cluster), pod, ["true"], output_limit=1, timeout=20)


async def read_log(cluster: Cluster) -> None:
    async with cluster.log("stays", "main", {}) as lines:
        async for _ in lines:
            break


# What the daemon can't do any more without each verb.
USES: dict[tuple[str, str], Callable[[Cluster], Awaitable[object]]] = {
    ("pods", "create"): lambda cluster: cluster.create_pod({**POD, "metadata": {"name": "more"}}),
    ("pods", "delete"): lambda cluster: cluster.delete_pod("nobody", 0),
    ("pods", "list"): lambda cluster: cluster.list_pods(),
    ("pods", "patch"): lambda cluster: cluster.patch_pod("stays", {"metadata": {}}),
    ("pods", "watch"): lambda cluster: first(cluster.watch_pods("1")),
    ("pods/exec", "create"): execute,
    ("pods/exec", "get"): execute,
    ("pods/log", "get"): read_log,
    ("secrets", "create"): lambda cluster: cluster.create_secret(SECRET),
    ("secrets", "delete"): lambda cluster: cluster.delete_secret("s"),
    ("secrets", "patch"): lambda cluster: cluster.patch_secret("s", {"metadata": {}}),
    ("namespaces", "get"): lambda cluster: cluster._request("GET", "/api/v1/namespaces/kgpu"),
    ("events", "list"): lambda cluster: cluster.pod_events("stays"),
    ("nodes", "list"): lambda cluster: cluster.list_nodes(),
    ("nodes", "watch"): lambda cluster: first(cluster.watch_nodes("1")),
}


@asynccontextmanager
async def connected(prepared: Installed) -> AsyncIterator[Cluster]:
    async with Cluster.connect(prepared.kubeconfig, "kgpu") as cluster:
        yield cluster


@pytest.fixture(scope="module", autouse=True)
def objects(prepared: Installed) -> Iterator[None]:
    """What there has to be for the uses to mean something."""
    pod = {**POD, "spec": {**POD["spec"], "containers": [_bare(POD["spec"]["containers"][0])]}}
    prepared.kubectl("create", "-f", "-", stdin=manifest(pod))
    prepared.kubectl(
        "create", "-f", "-", stdin=manifest({**SECRET, "kind": "Secret", "apiVersion": "v1"})
    )
    prepared.kubectl("-n", "kgpu", "wait", "--for=condition=Ready", "pod/stays", "--timeout=30s")
    yield
    prepared.kubectl("-n", "kgpu", "delete", "pod/stays", "--grace-period=0", "--force")
    prepared.kubectl("-n", "kgpu", "delete", "secret", "s", "--ignore-not-found")


def _bare(container: dict[str, Any]) -> dict[str, Any]:
    """Leave out the environment, whose Secret there isn't."""
    return {**container, "env": []}


def manifest(document: dict[str, Any]) -> str:
    return str(yaml.safe_dump(document))


def test_every_verb_has_its_use() -> None:
    assert sorted(USES) == sorted(EACH)


@pytest.mark.parametrize(("resource", "verb"), EACH)
async def test_without_a_verb_what_needs_it_says_so(
    prepared: Installed, resource: str, verb: str
) -> None:
    use = USES[resource, verb]
    async with connected(prepared) as cluster:
        with without(prepared, resource, verb):
            if resource == "pods/exec":
                with pytest.raises(ExecRefused, match="kgpud doctor"):
                    await use(cluster)
            else:
                with pytest.raises(Refused, match=rf"cannot {verb} resource \"{resource}\""):
                    await use(cluster)


async def test_a_secret_can_not_be_read(prepared: Installed) -> None:
    async with connected(prepared) as cluster:
        with pytest.raises(Refused, match='cannot get resource "secrets"'):
            await cluster._request("GET", "/api/v1/namespaces/kgpu/secrets/s")
