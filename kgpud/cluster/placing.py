"""Which nodes a class's pods may go to: by the nodes' labels, and by their taints. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kgpud.catalog_settings import GpuClass
from kgpud.cluster.pods import GPU, GPU_MODEL
from kgpud.cluster_settings import Pods

Object = dict[str, Any]

# Set on nodes that are away; `ready` says so already.
_AWAY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


@dataclass(frozen=True)
class Placement:
    """How nodes are known. `products` are the values of `product_label` by class.

    `tolerated` are taints as ``key=value:Effect``. ``kgpu.net/gpu-model`` on a node goes before
    its product: it is how an operator corrects a label that a plugin wrote.
    """

    products: Mapping[str, Sequence[str]] = field(default_factory=dict)
    product_label: str = "nvidia.com/gpu.product"
    tolerated: tuple[str, ...] = ()
    unreachable_seconds: int = 3600

    @classmethod
    def of(cls, pods: Pods, classes: Mapping[str, GpuClass]) -> "Placement":
        """Take what the configuration says."""
        products = {name: one.products for name, one in classes.items() if one.products}
        return cls(products, pods.product_label, pods.tolerations, pods.unreachable_seconds)

    def gpu_model(self, labels: Mapping[str, str]) -> str | None:
        """Return the class of a node, None if its labels tell none."""
        if GPU_MODEL in labels:
            return labels[GPU_MODEL]
        product = labels.get(self.product_label)
        return next((name for name, some in self.products.items() if product in some), None)

    def affinity(self, gpu_model: str) -> Object:
        """Return the affinity of a class's pods: `gpu_model` read backwards."""
        terms = [[{"key": GPU_MODEL, "operator": "In", "values": [gpu_model]}]]
        if products := self.products.get(gpu_model):
            known = {"key": self.product_label, "operator": "In", "values": list(products)}
            terms.append([known, {"key": GPU_MODEL, "operator": "DoesNotExist"}])
        required = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
        return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}

    def tolerations(self) -> list[Object]:
        """Return every rented pod's tolerations: GPU nodes, the operator's own, nodes away."""
        away = [
            {
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": self.unreachable_seconds,
            }
            for key in _AWAY
        ]
        return [*self._standing(), *away]

    def keeps_off(self, taints: Iterable[Mapping[str, Any]]) -> bool:
        """Tell whether one of these taints keeps rented pods off a node that is Ready."""
        hard = (t for t in taints if t.get("effect") != "PreferNoSchedule")
        return any(
            taint.get("key") not in _AWAY
            and not any(_tolerates(one, taint) for one in self._standing())
            for taint in hard
        )

    def _standing(self) -> list[Object]:
        ours = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
        return [ours, *map(_toleration, self.tolerated)]


def _toleration(taint: str) -> Object:
    name, _, effect = taint.rpartition(":")
    key, equals, value = name.partition("=")
    if not equals:
        return {"key": key, "operator": "Exists", "effect": effect}
    return {"key": key, "operator": "Equal", "value": value, "effect": effect}


def _tolerates(toleration: Object, taint: Mapping[str, Any]) -> bool:
    """Do what the scheduler does (k8s.io/api/core/v1: Toleration.ToleratesTaint)."""
    if (toleration["key"], toleration["effect"]) != (taint.get("key"), taint.get("effect")):
        return False
    return toleration["operator"] == "Exists" or bool(
        toleration["value"] == (taint.get("value") or "")
    )
