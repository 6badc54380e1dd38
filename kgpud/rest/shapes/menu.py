"""What can be rented."""

from kgpud.rest.shapes.base import Answer


class About(Answer):
    """`GET /`."""

    service: str
    version: str
    about: str
    api_base: str


class GpuModel(Answer):
    """One line of the menu. `price_per_hour_credits` is for one GPU."""

    gpu_model: str
    total: int
    free: int
    price_per_hour_credits: int


class Node(Answer):
    """One machine of the fleet, counted in GPUs."""

    hostname: str
    gpu_model: str
    total: int
    busy: int
    free: int
    ready: bool
    cordoned: bool
