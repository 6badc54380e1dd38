"""The simulated nodes: the default menu, or a YAML file's, as Kubernetes Node objects."""

import platform
import uuid
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from kgpud.localcluster import quantity
from kgpud.localcluster.errors import StartError
from kgpud.localcluster.registry import Document, now

PRODUCTS = {
    "rtx3080": "NVIDIA-GeForce-RTX-3080",
    "rtx3090": "NVIDIA-GeForce-RTX-3090",
    "rtx4090": "NVIDIA-GeForce-RTX-4090",
    "rtx5090": "NVIDIA-GeForce-RTX-5090",
    "v100": "Tesla-V100-SXM2-32GB",
}
MODEL_LABEL = "kgpu.net/gpu-model"
PRODUCT_LABEL = "nvidia.com/gpu.product"


@dataclass(frozen=True)
class Node:
    """One node of the fleet; quantities as Kubernetes writes them."""

    name: str
    gpu_model: str
    gpus: int
    cpu: str = "64"
    memory: str = "512Gi"
    ephemeral_storage: str = "4Ti"

    @property
    def product(self) -> str:
        """What nvidia's device plugin would call the GPU, e.g. `NVIDIA-GeForce-RTX-4090`."""
        return PRODUCTS.get(self.gpu_model, f"NVIDIA-{self.gpu_model.upper()}")

    def gpu(self, index: int) -> tuple[str, str]:
        """Return (name, UUID) of one GPU, the same in every run."""
        made = uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}/{index}.gpu.kgpu.local")
        return self.product.replace("-", " "), f"GPU-{made}"


def default_fleet() -> list[Node]:
    """Return the menu as five nodes, one for each class."""
    counts = {"rtx3080": 1, "rtx3090": 2, "rtx4090": 1, "rtx5090": 1, "v100": 4}
    return [Node(f"node-{model}", model, count) for model, count in counts.items()]


def read_fleet(path: Path) -> list[Node]:
    """Read `nodes: [{name, gpu_model, gpus, …}]`; StartError names the field that is wrong."""
    import yaml  # noqa: PLC0415  (only a start with --fleet pays for it)

    try:
        text = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StartError(f"--fleet {path}: {' '.join(str(error).split())}") from None
    if not isinstance(text, dict) or not isinstance(text.get("nodes"), list) or not text["nodes"]:
        raise StartError(f"--fleet {path}: nodes: a list of nodes is wanted")
    if extra := sorted(set(text) - {"nodes"}, key=str):
        raise StartError(f"--fleet {path}: {extra[0]}: unknown key")
    nodes = [_node(entry, f"--fleet {path}: nodes[{at}]") for at, entry in enumerate(text["nodes"])]
    names = [node.name for node in nodes]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise StartError(f"--fleet {path}: nodes[{at}].name: {name} is taken")
    return nodes


def _node(entry: Any, where: str) -> Node:  # noqa: ANN401  (whatever the YAML said)
    if not isinstance(entry, dict):
        raise StartError(f"{where}: a mapping is wanted")
    known = {field.name for field in fields(Node)}
    for key in entry:
        if key not in known:
            raise StartError(f"{where}.{key}: unknown key; there are {', '.join(sorted(known))}")
    for key in ("name", "gpu_model"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise StartError(f"{where}.{key}: a string is wanted")
    gpus = entry.get("gpus")
    if not isinstance(gpus, int) or isinstance(gpus, bool) or gpus < 0:
        raise StartError(f"{where}.gpus: a whole number is wanted")
    amounts = {}
    for key in ("cpu", "memory", "ephemeral_storage"):
        if key in entry:
            try:
                quantity.thousandths(entry[key])
            except ValueError:
                raise StartError(f"{where}.{key}: a quantity is wanted, like 64 or 512Gi") from None
            amounts[key] = str(entry[key])
    return Node(entry["name"], entry["gpu_model"], gpus, **amounts)


def node_object(node: Node, number: int) -> Document:
    """Return the Node object to store; `number` counts from 1 and makes its address."""
    room = {
        "cpu": node.cpu,
        "ephemeral-storage": node.ephemeral_storage,
        "memory": node.memory,
        "nvidia.com/gpu": str(node.gpus),
        "pods": "110",
    }
    address = f"10.66.0.{number}" if number < 255 else f"10.66.{number // 255}.{number % 255}"  # noqa: PLR2004
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    labels = {
        "kubernetes.io/arch": arch,
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        MODEL_LABEL: node.gpu_model,
        PRODUCT_LABEL: node.product,
    }
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {},
        "status": {
            "capacity": room,
            "allocatable": dict(room),
            "conditions": _conditions(),
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": node.name},
            ],
            "nodeInfo": {
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kernelVersion": platform.release(),
                "osImage": "kgpud local cluster (simulated node)",
                "containerRuntimeVersion": "bubblewrap://0",
                "kubeletVersion": "v1.36.2",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": arch,
            },
        },
    }


def _conditions() -> list[Document]:
    said = (
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "sufficient PID available"),
    )
    moment = now()
    times = {"lastHeartbeatTime": moment, "lastTransitionTime": moment}
    conditions = [
        {
            "type": kind,
            "status": status,
            **times,
            "reason": reason,
            "message": f"kubelet has {words}",
        }
        for kind, status, reason, words in said
    ]
    ready = {"reason": "KubeletReady", "message": "kubelet is posting ready status"}
    return [*conditions, {"type": "Ready", "status": "True", **times, **ready}]
