"""What a pod's container has written."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack

from kgpud.cluster.errors import ClusterError, Refused
from kgpud.cluster.pods import CONTAINER, STARTING
from kgpud.errors import Code, UserError
from kgpud.rest.call import Call
from kgpud.rest.shapes.logs import LogQuery
from kgpud.rest.shapes.streams import TextStream


async def get_logs(call: Call[None, LogQuery]) -> TextStream:
    """Show what the pod's first process has written, stdout and stderr as they came.

    What runs by ssh or exec writes to its own client and is not here. The logs go with the pod.
    """
    rental = await call.services.rentals.get(call.account.account_id, call.pod_id)
    if rental.phase == "Ended":
        raise UserError(Code.POD_ENDED, "the pod is gone, and its logs with it")
    if rental.phase == "Pending":
        raise _not_ready(rental.pending_reason or STARTING)
    async with AsyncExitStack() as opened:
        opening = call.services.cluster.log(call.pod_id, CONTAINER, call.query.asked())
        try:
            chunks = await opened.enter_async_context(opening)
        except Refused as error:
            if error.status == 404:  # noqa: PLR2004 - HTTP
                raise UserError(Code.POD_ENDED, "the pod is gone, and its logs with it") from error
            raise _not_ready(error.reason) from error
        except ClusterError as error:
            raise UserError(Code.CLUSTER_UNREACHABLE, "the cluster does not answer") from error
        return TextStream(_chunks(chunks, opened.pop_all()))
    raise AssertionError("the block returns or raises")


async def _chunks(
    chunks: AsyncIterator[bytes], opened: AsyncExitStack
) -> AsyncGenerator[bytes, None]:
    async with opened:
        async for chunk in chunks:
            yield chunk


def _not_ready(reason: str) -> UserError:
    return UserError(Code.POD_NOT_READY, f"the container has not run yet ({reason})")
