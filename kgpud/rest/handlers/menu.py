"""What can be rented: the menu, and the machines behind it."""

from kgpud.rest.call import Call
from kgpud.rest.shapes.menu import STALE, GpuModel, Node


async def list_gpu_models(call: Call) -> list[GpuModel]:
    """List the classes that the fleet has, with what is free now."""
    stale = {} if call.services.catalog.fresh else STALE
    return [
        GpuModel(
            gpu_model=line.gpu_model,
            total=line.total,
            free=line.free,
            price_per_hour_credits=line.price_per_hour_credits,
            **stale,
        )
        for line in call.services.catalog.menu()
    ]


async def list_nodes(call: Call) -> list[Node]:
    """List the machines."""
    stale = {} if call.services.catalog.fresh else STALE
    return [
        Node(
            hostname=node.hostname,
            gpu_model=node.gpu_model,
            total=node.total,
            busy=node.busy,
            free=node.free,
            ready=node.ready,
            cordoned=node.cordoned,
            **stale,
        )
        for node in call.services.catalog.nodes()
    ]
