"""The nodes: those of real GPUs, and simulated ones of the default menu or a YAML file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from kgpud.localcluster import quantity
from kgpud.localcluster.errors import StartError
from kgpud.localcluster.gpus import Driver, Gpu, Share, detect, find_driver, model, simulated
from kgpud.localcluster.timings import Timings

PRODUCTS = {
    "rtx3080": "NVIDIA-GeForce-RTX-3080",
    "rtx3090": "NVIDIA-GeForce-RTX-3090",
    "rtx4090": "NVIDIA-GeForce-RTX-4090",
    "rtx5090": "NVIDIA-GeForce-RTX-5090",
    "v100": "Tesla-V100-SXM2-32GB",
}


@dataclass(frozen=True)
class Node:
    """One node of the fleet; quantities as Kubernetes writes them.

    `real` are its GPUs if it has real ones, `driver` is what they need.
    """

    name: str
    gpu_model: str
    gpus: int
    cpu: str = "64"
    memory: str = "512Gi"
    ephemeral_storage: str = "4Ti"
    real: tuple[Gpu, ...] = ()
    driver: Driver = field(default_factory=Driver)

    @property
    def product(self) -> str:
        """What nvidia's device plugin would call the GPU, e.g. `NVIDIA-GeForce-RTX-4090`."""
        if self.real:
            return self.real[0].name.replace(" ", "-")
        return PRODUCTS.get(self.gpu_model, f"NVIDIA-{self.gpu_model.upper()}")

    def share(self, indexes: Sequence[int]) -> Share:
        """Return some of the GPUs."""
        if self.real:
            return Share(tuple(self.real[index] for index in indexes), self.driver)
        made = (simulated(self.name, index, self.product) for index in indexes)
        return Share(tuple(made))


@dataclass(frozen=True)
class Fleet:
    """The nodes of a cluster, and how fast its kubelets are."""

    nodes: Sequence[Node]
    timings: Timings = field(default_factory=Timings)


def default_fleet(real: Sequence[Node] = ()) -> Fleet:
    """Return the menu as five nodes, one for each class; `real` ones come first.

    A class of which there are real GPUs is not simulated.
    """
    counts = {"rtx3080": 1, "rtx3090": 2, "rtx4090": 1, "rtx5090": 1, "v100": 4}
    there = {node.gpu_model for node in real}
    made = [
        Node(f"node-{name}", name, count) for name, count in counts.items() if name not in there
    ]
    return Fleet([*real, *made])


def real_nodes(root: Path = Path("/")) -> list[Node]:
    """Return one node for each model of NVIDIA GPU that the host below `root` has."""
    models: dict[str, list[Gpu]] = {}
    for gpu in detect(root):
        models.setdefault(model(gpu.name), []).append(gpu)
    driver = find_driver(root)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 10
    disk = os.statvfs(root)
    room = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory}Ki",
        "ephemeral_storage": f"{disk.f_bavail * disk.f_frsize >> 10}Ki",
    }
    return [
        Node(f"gpu-{name}", name, len(some), **room, real=tuple(some), driver=driver)
        for name, some in models.items()
    ]


def read_fleet(path: Path) -> Fleet:
    """Read `nodes: [{name, gpu_model, gpus, …}]` and `timings: {…}`.

    StartError names the field that is wrong.
    """
    import yaml  # noqa: PLC0415  (only a start with --fleet pays for it)

    try:
        text = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StartError(f"--fleet {path}: {' '.join(str(error).split())}") from None
    if not isinstance(text, dict) or not isinstance(text.get("nodes"), list) or not text["nodes"]:
        raise StartError(f"--fleet {path}: nodes: a list of nodes is wanted")
    _require_known(text, {"nodes", "timings"}, f"--fleet {path}: ")
    nodes = [_node(entry, f"--fleet {path}: nodes[{at}]") for at, entry in enumerate(text["nodes"])]
    names = [node.name for node in nodes]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise StartError(f"--fleet {path}: nodes[{at}].name: {name} is taken")
    return Fleet(nodes, _timings(text.get("timings") or {}, f"--fleet {path}: timings"))


def _require_known(entry: Mapping[object, Any], known: set[str], where: str) -> None:
    for key in entry:
        if key not in known:
            raise StartError(f"{where}{key}: unknown key; there are {', '.join(sorted(known))}")


def _timings(entry: Any, where: str) -> Timings:  # noqa: ANN401  (whatever the YAML said)
    if not isinstance(entry, dict):
        raise StartError(f"{where}: a mapping is wanted")
    _require_known(entry, {one.name for one in fields(Timings)}, f"{where}.")
    for key, seconds in entry.items():
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
            raise StartError(f"{where}.{key}: a number of seconds is wanted")
    return Timings(**entry)


def _node(entry: Any, where: str) -> Node:  # noqa: ANN401  (whatever the YAML said)
    if not isinstance(entry, dict):
        raise StartError(f"{where}: a mapping is wanted")
    known = {one.name for one in fields(Node)} - {"real", "driver"}
    _require_known(entry, known, f"{where}.")
    for key in ("name", "gpu_model"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise StartError(f"{where}.{key}: a string is wanted")
    count = entry.get("gpus")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise StartError(f"{where}.gpus: a whole number is wanted")
    cpu, memory, disk = (
        _amount(entry.get(key, getattr(Node, key)), f"{where}.{key}")
        for key in ("cpu", "memory", "ephemeral_storage")
    )
    return Node(entry["name"], entry["gpu_model"], count, cpu, memory, disk)


def _amount(given: Any, where: str) -> str:  # noqa: ANN401  (whatever the YAML said)
    try:
        quantity.thousandths(given)
    except ValueError:
        raise StartError(f"{where}: a quantity is wanted, like 64 or 512Gi") from None
    return str(given)
