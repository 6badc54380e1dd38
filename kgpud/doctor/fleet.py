"""The workers: their classes, their GPUs, the default image on them, kernels for their cards."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from kgpud.cluster.nodes import NodeState, derive_node
from kgpud.cluster.pods import GPU_MODEL, derive
from kgpud.doctor.findings import Finding, fail, ok, skip, warn
from kgpud.doctor.patient import Patient

# A kubelet tells its largest images only, by default so many.
_IMAGES_TOLD = 50


async def nodes(patient: Patient) -> AsyncIterator[Finding]:
    """Look at every node with GPUs or a class, and at every class on the menu."""
    items = (await patient.cluster.list_nodes()).items
    patient.nodes = [derive_node(item, patient.placement) for item in items]
    patient.pods = [derive(item) for item in (await patient.cluster.list_pods()).items]
    patient.images = {item["metadata"]["name"]: list(_images(item)) for item in items}
    labels = {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in items}
    for node in patient.nodes:
        if trouble := _trouble(patient, node, labels[node.name]):
            yield trouble
    for name in patient.config.gpu:
        yield _gpu_class(patient, name)
    if not any(patient.usable(name) for name in patient.config.gpu):
        remedy = "label workers kgpu.net/gpu-model=CLASS, or name their products in [gpu.CLASS]"
        yield fail("nodes", "nothing can be rented: no usable node has a class", remedy)


def _trouble(patient: Patient, node: NodeState, labels: Mapping[str, str]) -> Finding | None:
    check = f"node {node.name}"
    if node.gpu_model not in patient.config.gpu:
        return _classless(patient, node, labels)
    if not node.gpus:
        remedy = "run NVIDIA's device plugin there: kubectl describe node tells nvidia.com/gpu"
        return fail(check, f"is of class {node.gpu_model} and offers no GPU", remedy)
    if not node.ready:
        return warn(check, "is not Ready", f"kubectl describe node {node.name}")
    if node.cordoned:
        remedy = f"kubectl uncordon {node.name}, or name its taint in pods.tolerations"
        return warn(check, "is cordoned, or has a taint that rentals don't tolerate", remedy)
    return None


def _classless(patient: Patient, node: NodeState, labels: Mapping[str, str]) -> Finding | None:
    """Say why a node is of no class on the menu; None for one that has no part in this."""
    check, label = f"node {node.name}", f"kubectl label --overwrite node {node.name} {GPU_MODEL}"
    if labelled := labels.get(GPU_MODEL):
        said = f"is labelled {GPU_MODEL}={labelled}, which is no class on the menu"
        return warn(check, said, f"{label}=CLASS, or add a class [gpu.{labelled}]")
    if not node.gpus:
        return None
    product = labels.get(patient.config.pods.product_label)
    said = f"has GPUs ({node.gpus}, {product or 'unknown'}) and no class on the menu"
    remedy = f"{label}=CLASS"
    if product:
        remedy = f'add "{product}" to the products of a class in [gpu], or {remedy}'
    return warn(check, said, remedy)


def _gpu_class(patient: Patient, name: str) -> Finding:
    check = f"class {name}"
    usable = patient.usable(name)
    gpus = sum(node.gpus for node in usable)
    if not usable:
        return warn(check, "no usable node has it", "leave it out of the menu, or label its nodes")
    if not _has_kernels(patient.config.gpu[name].compute, patient.config.images.kernels):
        said = f"GPUs: {gpus}, compute capability {patient.config.gpu[name].compute}"
        remedy = f"{patient.config.images.default} has no kernels for it: users need another image"
        return warn(check, said, remedy)
    free = sum(patient.free(node) for node in usable)
    return ok(check, f"{free} of {gpus} GPUs free, nodes: {len(usable)}")


def _has_kernels(compute: str, kernels: tuple[str, ...]) -> bool:
    """Tell whether a card can run one of these: of its generation, and no younger than it."""
    if not compute or not kernels:
        return True
    major, minor = compute.split(".")
    built = (kernel.split(".") for kernel in kernels)
    return any(one == major and int(other) <= int(minor) for one, other in built)


async def image(patient: Patient) -> AsyncIterator[Finding]:
    """Look whether every worker has the default image, as far as kubelets tell."""
    wanted = patient.config.images.default
    workers = {node.name for name in patient.config.gpu for node in patient.usable(name)}
    told = {name: patient.images.get(name, ()) for name in workers}
    missing = sorted(
        name
        for name, images in told.items()
        if images and len(images) < _IMAGES_TOLD and not any(_same(one, wanted) for one in images)
    )
    if not workers:
        yield skip("default image", "there is no worker to have it")
    elif missing:
        remedy = (
            "load it there, e.g. k3s ctr images import; the kgpud-prepull pods tell how it goes"
        )
        yield fail("default image", f"{wanted} is not on {', '.join(missing)}", remedy)
    elif not any(told.values()):
        yield skip("default image", "no kubelet tells its images; the canaries will show")
    else:
        yield ok("default image", f"{wanted} is on {len(workers)} workers")


def _images(node: Mapping[str, Any]) -> list[str]:
    found = (node.get("status") or {}).get("images") or ()
    return [name for one in found for name in one.get("names") or ()]


def _same(told: str, wanted: str) -> bool:
    """Compare references as containerd completes them: ``docker.io/library/NAME:latest``."""
    return _complete(told) == _complete(wanted)


def _complete(reference: str) -> str:
    name = reference.removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"
