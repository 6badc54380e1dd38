"""What can be rented right now: the cluster as last seen, with the price table laid over it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kgpud.cluster.nodes import NodeState
from kgpud.cluster.pods import PodState
from kgpud.cluster.view import ClusterView


class GpuClass(Protocol):
    """What the catalog needs of a class in the configuration."""

    @property
    def price_per_hour(self) -> int:
        """Whole credits for one GPU for one hour."""
        ...

    @property
    def hardware(self) -> str:
        """What people call the card; "" if nobody said."""
        ...


@dataclass(frozen=True)
class GpuModel:
    """A line of the menu; `free` GPUs may be spread over several nodes."""

    gpu_model: str
    hardware: str
    total: int
    free: int
    price_per_hour_credits: int


@dataclass(frozen=True)
class NodeView:
    """A node as users see it; `free` is 0 where nothing can be placed."""

    hostname: str
    gpu_model: str
    total: int
    busy: int
    free: int
    ready: bool
    cordoned: bool


class Catalog:
    """The menu. Read from memory; costs no call to the cluster."""

    def __init__(self, view: ClusterView, classes: Mapping[str, GpuClass]) -> None:
        self._view = view
        self._classes = classes

    @property
    def changes(self) -> int:
        """How often anything here has changed."""
        return self._view.changes

    @property
    def fresh(self) -> bool:
        """Whether the cluster answered when it was last asked."""
        return self._view.connected

    def price(self, gpu_model: str) -> int | None:
        """Return credits per GPU and hour, None for a class that isn't on the price list."""
        gpu_class = self._classes.get(gpu_model)
        return None if gpu_class is None else gpu_class.price_per_hour

    def models(self) -> list[str]:
        """Return the names on the price list, whether rentable now or not."""
        return sorted(self._classes)

    def nodes(self) -> list[NodeView]:
        """Return every node of a class on the price list, by class and name."""
        busy = self._busy()
        views = [
            self._node_view(node, busy[node.name])
            for node in self._view.nodes.values()
            if node.gpu_model in self._classes
        ]
        return sorted(views, key=lambda view: (view.gpu_model, view.hostname))

    def menu(self) -> list[GpuModel]:
        """Return the classes that some Ready, schedulable node has, cheapest first."""
        total: Counter[str] = Counter()
        free: Counter[str] = Counter()
        for node in self.nodes():
            if node.ready and not node.cordoned:
                total[node.gpu_model] += node.total
                free[node.gpu_model] += node.free
        free.subtract(self._waiting())
        models = [
            GpuModel(name, one.hardware, total[name], max(0, free[name]), one.price_per_hour)
            for name, one in self._classes.items()
            if total[name] > 0
        ]
        return sorted(models, key=lambda m: (m.price_per_hour_credits, m.gpu_model))

    def room(self, gpu_model: str, holding: list[tuple[str, int]]) -> tuple[int, int]:
        """Return how many GPUs of a class are free, and the most that one node has free.

        `holding` are id and GPU count of all rentals whose pod may yet come: those that the
        cluster was not seen to have are taken off too.
        """
        spread = [
            node.free
            for node in self.nodes()
            if node.gpu_model == gpu_model and node.ready and not node.cordoned
        ]
        unseen = sum(count for pod_id, count in holding if pod_id not in self._view.pods)
        ahead = unseen + self._waiting()[gpu_model]
        return max(0, sum(spread) - ahead), max(spread, default=0)

    def add_created(self, pod: PodState) -> None:
        """Count a pod that was just created, ahead of the watch's news of it."""
        self._view.add_created(pod)

    def _busy(self) -> Counter[str]:
        busy: Counter[str] = Counter()
        for pod in self._view.pods.values():
            if pod.node is not None:
                busy[pod.node] += pod.gpu_count
        return busy

    def _waiting(self) -> Counter[str]:
        """Count the GPUs of pods that no node was found for yet."""
        waiting: Counter[str] = Counter()
        for pod in self._view.pods.values():
            if pod.node is None and pod.gpu_model is not None:
                waiting[pod.gpu_model] += pod.gpu_count
        return waiting

    @staticmethod
    def _node_view(node: NodeState, busy: int) -> NodeView:
        usable = node.ready and not node.cordoned
        return NodeView(
            hostname=node.hostname,
            gpu_model=node.gpu_model or "",
            total=node.gpus,
            busy=busy,
            free=max(0, node.gpus - busy) if usable else 0,
            ready=node.ready,
            cordoned=node.cordoned,
        )
