"""A node of the fleet as a Kubernetes Node object."""

import platform

from kgpud.localcluster.fleet import Node
from kgpud.localcluster.images import IMAGES
from kgpud.localcluster.registry import Document, now

MODEL_LABEL = "kgpu.net/gpu-model"
PRODUCT_LABEL = "nvidia.com/gpu.product"
_LAST_BYTE = 255


def node_object(node: Node, number: int) -> Document:
    """Return the Node object to store; `number` counts from 1 and makes its address."""
    room = {
        "cpu": node.cpu,
        "ephemeral-storage": node.ephemeral_storage,
        "memory": node.memory,
        "nvidia.com/gpu": str(node.gpus),
        "pods": "110",
    }
    address = (
        f"10.66.0.{number}"
        if number < _LAST_BYTE
        else f"10.66.{number // _LAST_BYTE}.{number % _LAST_BYTE}"
    )
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
            "images": [
                {"names": [f"docker.io/library/{image}"], "sizeBytes": 0} for image in IMAGES
            ],
            "nodeInfo": {
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kernelVersion": platform.release(),
                "osImage": f"kgpud local cluster ({'real' if node.real else 'simulated'} GPUs)",
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
