"""What can be rented."""

from typing import Any, Literal

from kgpud.rest.shapes.base import Answer

Stale = Literal["cluster_unreachable"] | None
#: What answers carry while the cluster does not answer.
STALE: dict[str, Literal["cluster_unreachable"]] = {"stale": "cluster_unreachable"}


def _line(gpu_model: str, total: int, free: int, price: int) -> dict[str, Any]:
    return {
        "gpu_model": gpu_model,
        "total": total,
        "free": free,
        "price_per_hour_credits": price,
    }


class GpuModel(Answer):
    """One line of the menu."""

    gpu_model: str
    """What `POST /pods` takes as `gpu_model`."""
    total: int
    free: int
    price_per_hour_credits: int
    """For one GPU, or for a rental without any."""
    stale: Stale = None
    """There while the cluster does not answer: this is what was last known."""

    examples = (
        _line("rtx3080", 1, 1, 300),
        _line("rtx3090", 2, 2, 600),
        _line("rtx4090", 1, 0, 1000),
        _line("rtx5090", 1, 1, 1400),
        _line("v100", 4, 4, 600),
    )


class Node(Answer):
    """One machine of the fleet, counted in GPUs."""

    hostname: str
    gpu_model: str
    total: int
    busy: int
    free: int
    ready: bool
    cordoned: bool
    """Nothing new starts there."""
    stale: Stale = None
    """There while the cluster does not answer: this is what was last known."""

    examples = (
        {
            "hostname": "worker-1",
            "gpu_model": "rtx4090",
            "total": 1,
            "busy": 1,
            "free": 0,
            "ready": True,
            "cordoned": False,
        },
    )
