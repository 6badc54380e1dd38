"""What can be rented: the menu, the machines behind it, and the front door."""

from importlib.metadata import version

from kgpud.rest.call import Call
from kgpud.rest.shapes.menu import About, GpuModel, Node


async def get_about(call: Call) -> About:
    """Say what answers here, for whoever opens the server's root."""
    return About(
        service="kgpud",
        version=version("kgpud"),
        about="GPU containers rented by the minute, over ssh and HTTPS.",
        api_base=call.services.api_base,
    )


async def list_gpu_models(call: Call) -> list[GpuModel]:
    """List the classes that the fleet has, with what is free now."""
    return [
        GpuModel(
            gpu_model=line.gpu_model,
            total=line.total,
            free=line.free,
            price_per_hour_credits=line.price_per_hour_credits,
        )
        for line in call.services.catalog.menu()
    ]


async def list_nodes(call: Call) -> list[Node]:
    """List the machines."""
    return [
        Node(
            hostname=node.hostname,
            gpu_model=node.gpu_model,
            total=node.total,
            busy=node.busy,
            free=node.free,
            ready=node.ready,
            cordoned=node.cordoned,
        )
        for node in call.services.catalog.nodes()
    ]
