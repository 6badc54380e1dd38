"""A node of the fleet as a Kubernetes Node object."""

import platform
from ipaddress import IPv4Address

from kgpud.localcluster.fleet import Node
from kgpud.localcluster.images import IMAGES
from kgpud.localcluster.registry import Document, now

MODEL_LABEL = "kgpu.net/gpu-model"
PRODUCT_LABEL = "nvidia.com/gpu.product"
_BEFORE_ADDRESSES = IPv4Address("10.66.0.0")


def node_object(node: Node, number: int) -> Document:
    """Return the Node object to store; `number` counts from 1 and makes its address."""
    labels = {
        "kubernetes.io/arch": _architecture(),
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        MODEL_LABEL: node.gpu_model,
        PRODUCT_LABEL: node.product,
    }
    addresses = [
        {"type": "InternalIP", "address": str(_BEFORE_ADDRESSES + number)},
        {"type": "Hostname", "address": node.name},
    ]
    images = [{"names": [f"docker.io/library/{image}"], "sizeBytes": 0} for image in IMAGES]
    status = {
        "capacity": _room(node),
        "allocatable": _room(node),
        "conditions": _conditions(),
        "addresses": addresses,
        "images": images,
        "nodeInfo": _information(node),
    }
    metadata = {"name": node.name, "labels": labels}
    return {"kind": "Node", "apiVersion": "v1", "metadata": metadata, "spec": {}, "status": status}


def _room(node: Node) -> Document:
    return {
        "cpu": node.cpu,
        "ephemeral-storage": node.ephemeral_storage,
        "memory": node.memory,
        "nvidia.com/gpu": str(node.gpus),
        "pods": "110",
    }


def _information(node: Node) -> Document:
    return {
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
        "kernelVersion": platform.release(),
        "osImage": f"kgpud local cluster ({'real' if node.real else 'simulated'} GPUs)",
        "containerRuntimeVersion": "bubblewrap://0",
        "kubeletVersion": "v1.36.2",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": _architecture(),
    }


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _conditions() -> list[Document]:
    said = (
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "has sufficient memory available",
        ),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "is posting ready status"),
    )
    moment = now()
    times = {"lastHeartbeatTime": moment, "lastTransitionTime": moment}
    return [
        {"type": kind, "status": status, **times, "reason": reason, "message": f"kubelet {words}"}
        for kind, status, reason, words in said
    ]
