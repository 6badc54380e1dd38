"""What a pod's container has written."""

from kgpud import podlogs
from kgpud.rest.call import Call
from kgpud.rest.shapes.logs import LogQuery
from kgpud.rest.shapes.streams import TextStream


async def get_logs(call: Call[None, LogQuery]) -> TextStream:
    """Show what the pod's first process has written, stdout and stderr as they came.

    What runs by ssh or exec writes to its own client and is not here. The logs go with the pod.
    """
    rental = await call.services.rentals.get(call.account.account_id, call.pod_id)
    return TextStream(await podlogs.opened(call.services.cluster, rental, call.query.asked()))
