"""What an operator can set of what is rented: images, and the menu of GPU classes."""

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, Strict, StringConstraints

_CLOSED = ConfigDict(extra="forbid")
CREDITS_LIMIT = 10**12

Names = tuple[Annotated[str, StringConstraints(min_length=1)], ...]


def _capability(value: str) -> str:
    if value and not re.fullmatch(r"[0-9]{1,2}\.[0-9]", value):
        raise ValueError("must be a CUDA compute capability such as 8.9")
    return value


def _class_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", value):
        raise ValueError("a GPU class is named in lower case letters, digits, '.', '-' and '_'")
    return value


def _product(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value):
        raise ValueError("must be as the node's label has it: NVIDIA-A100-SXM4-80GB, no spaces")
    return value


Capability = Annotated[str, AfterValidator(_capability)]
ClassName = Annotated[str, AfterValidator(_class_name)]


@dataclass(frozen=True)
class Images:
    """Which container images may be rented."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: What a rental gets that names no image; preloaded on every worker.
    default: str = "kgpu-pytorch:latest"
    #: Names that the workers have already: one without a registry is never pulled.
    local: Names = ("kgpu-pytorch:latest",)
    #: Registries that any image may be pulled from, or folders of one: ``ghcr.io/our-lab``.
    allowed_registries: Names = ("ghcr.io", "docker.io")
    #: Compute capabilities that the default image has kernels for; `kgpud doctor` compares.
    kernels: tuple[Capability, ...] = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")

    def allows(self, image: str) -> bool:
        """Tell whether a rental may use this image reference, by its name alone."""
        if image in self.local:
            return True
        parts = image.split("/")
        plain = not {"", ".", ".."} & set(parts)
        return plain and any(image.startswith(f"{one}/") for one in self.allowed_registries)


@dataclass(frozen=True)
class GpuClass:
    """One class of GPU on the menu."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: Whole credits for one GPU for one hour.
    price_per_hour: Annotated[int, Strict(), Field(ge=0, le=CREDITS_LIMIT)]
    #: What people call the card.
    hardware: str = ""
    #: What `pods.product_label` says on nodes that have it.
    products: tuple[Annotated[str, AfterValidator(_product)], ...] = ()
    #: The card's CUDA compute capability; "" if nobody said.
    compute: Capability = ""


def menu(*others: str) -> dict[str, GpuClass]:
    """Return the default menu, and other classes at the price of an rtx4090."""
    v100 = ("Tesla-V100-SXM2-32GB", "Tesla-V100-PCIE-32GB", "Tesla-V100S-PCIE-32GB")
    return {
        **{name: GpuClass(1000) for name in others},
        "rtx3080": GpuClass(300, "RTX 3080", ("NVIDIA-GeForce-RTX-3080",), "8.6"),
        "rtx3090": GpuClass(600, "RTX 3090", ("NVIDIA-GeForce-RTX-3090",), "8.6"),
        "v100": GpuClass(600, "Tesla V100 32 GB", v100, "7.0"),
        "rtx4090": GpuClass(1000, "RTX 4090", ("NVIDIA-GeForce-RTX-4090",), "8.9"),
        "rtx5090": GpuClass(1400, "RTX 5090", ("NVIDIA-GeForce-RTX-5090",), "12.0"),
    }
