"""What is examined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.executor import Executor
from kgpud.clock import Clock
from kgpud.cluster.client import Cluster
from kgpud.cluster.nodes import NodeState
from kgpud.cluster.placing import Placement
from kgpud.cluster.pods import PodState
from kgpud.config import Config


@dataclass(frozen=True)
class Canary:
    """A pod of ours that is ready. `address` is its IP in the cluster."""

    name: str
    gpu_model: str
    gpu_count: int
    node: str
    address: str


@dataclass
class Patient:
    """An installation: its configuration, its cluster, and what the checks so far have seen.

    `source` is where the configuration was read, None for the defaults. `canary_seconds` bounds
    how long canaries may take to start.
    """

    source: Path | None
    config: Config
    cluster: Cluster
    executor: Executor
    clock: Clock
    canary_seconds: float
    nodes: Sequence[NodeState] = ()
    images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pods: Sequence[PodState] = ()
    canaries: Sequence[Canary] = ()

    @property
    def placement(self) -> Placement:
        """How nodes are known."""
        return Placement.of(self.config.pods, self.config.gpu)

    def usable(self, gpu_model: str) -> list[NodeState]:
        """Return the class's nodes that take new pods."""
        return [
            node
            for node in self.nodes
            if node.gpu_model == gpu_model and node.ready and not node.cordoned
        ]

    def free(self, node: NodeState) -> int:
        """Return how many GPUs of a node nobody in our namespace has."""
        return node.gpus - sum(pod.gpu_count for pod in self.pods if pod.node == node.name)
