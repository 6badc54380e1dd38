"""The cluster as last seen, in memory: what the menu is read from without asking the cluster."""

from collections import deque
from collections.abc import Iterable, Mapping

from kgpud.cluster.nodes import NodeState
from kgpud.cluster.pods import PodState

_REMEMBERED_DELETIONS = 10_000


class ClusterView:
    """All pods of the namespace, whoever's, and all nodes. `reconcile` keeps it current."""

    def __init__(self) -> None:
        self._pods: dict[str, PodState] = {}
        self._nodes: dict[str, NodeState] = {}
        self._deleted: deque[str] = deque(maxlen=_REMEMBERED_DELETIONS)
        self._absent: dict[str, int] = {}
        self._missing = {"pods", "nodes"}
        #: How often something was heard that may have changed this.
        self.changes = 0

    @property
    def pods(self) -> Mapping[str, PodState]:
        """The pods that are there, by name."""
        return self._pods

    @property
    def nodes(self) -> Mapping[str, NodeState]:
        """The nodes that are there, by name."""
        return self._nodes

    @property
    def connected(self) -> bool:
        """Whether the cluster answered when it was last asked."""
        return not self._missing

    def away_since(self, node: str, now: int) -> int | None:
        """Return since when a node is not Ready, or not there any more; None if it is well.

        That a node is not there counts from the first time that this was asked.
        """
        found = self._nodes.get(node)
        if found is None:
            return self._absent.setdefault(node, now) if "nodes" not in self._missing else None
        self._absent.pop(node, None)
        return None if found.ready else min(now, found.away_since or now)

    def lost(self, kind: str) -> None:
        """Note that the cluster did not answer for ``pods`` or ``nodes``."""
        self.changes += 1
        self._missing.add(kind)

    def list_pods(self, pods: Iterable[PodState]) -> None:
        """Take a whole list."""
        self.changes += 1
        self._pods = {pod.name: pod for pod in pods}
        self._missing.discard("pods")

    def list_nodes(self, nodes: Iterable[NodeState]) -> None:
        """Take a whole list."""
        self.changes += 1
        self._nodes = {node.name: node for node in nodes}
        self._missing.discard("nodes")

    def see_pod(self, pod: PodState) -> None:
        """Take a watch event's pod."""
        self.changes += 1
        if pod.deleted:
            self._pods.pop(pod.name, None)
            self._deleted.append(pod.name)
        else:
            self._pods[pod.name] = pod

    def add_created(self, pod: PodState) -> None:
        """Take the answer to a creation, which may come later than the watch's news of it."""
        self.changes += 1
        if pod.name not in self._pods and pod.name not in self._deleted:
            self._pods[pod.name] = pod

    def see_node(self, node: NodeState, *, deleted: bool) -> None:
        """Take a watch event's node."""
        self.changes += 1
        if deleted:
            self._nodes.pop(node.name, None)
        else:
            self._nodes[node.name] = node
