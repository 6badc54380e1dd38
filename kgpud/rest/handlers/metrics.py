"""What a monitoring system reads."""

from collections.abc import AsyncGenerator

from kgpud.rest.call import Call
from kgpud.rest.shapes.streams import TextStream


async def get_metrics(call: Call) -> TextStream:
    """Tell how the daemon is doing, in Prometheus' text format.

    Counters begin at 0 when a daemon starts, after a reload too.
    """
    text = await call.services.metrics.text()

    async def once() -> AsyncGenerator[bytes, None]:
        yield text

    return TextStream(once())
