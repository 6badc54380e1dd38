"""What a pod's first process has written, and why there may be nothing to read."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack

from kgpud.cluster.client import Cluster
from kgpud.cluster.errors import ClusterError, Refused
from kgpud.cluster.pods import CONTAINER, STARTING
from kgpud.errors import Code, UserError
from store.records import Rental


async def opened(
    cluster: Cluster, rental: Rental, query: Mapping[str, str]
) -> AsyncGenerator[bytes, None]:
    """Return the log's bytes as they come, once they do; `query` is Kubernetes' own.

    Raises UserError: POD_ENDED, POD_NOT_READY, CLUSTER_UNREACHABLE.
    """
    if rental.phase == "Ended":
        raise UserError(Code.POD_ENDED, "the pod is gone, and its logs with it")
    if rental.phase == "Pending":
        raise _not_ready(rental.pending_reason or STARTING)
    async with AsyncExitStack() as stack:
        opening = cluster.log(rental.pod_id, CONTAINER, query)
        try:
            chunks = await stack.enter_async_context(opening)
        except Refused as error:
            if error.status == 404:  # noqa: PLR2004 - HTTP
                raise UserError(Code.POD_ENDED, "the pod is gone, and its logs with it") from error
            raise _not_ready(error.reason) from error
        except ClusterError as error:
            raise UserError(
                Code.CLUSTER_UNREACHABLE, "the cluster does not answer; try again soon"
            ) from error
        return _chunks(chunks, stack.pop_all())
    raise AssertionError("the block returns or raises")


async def _chunks(
    chunks: AsyncIterator[bytes], opened: AsyncExitStack
) -> AsyncGenerator[bytes, None]:
    async with opened:
        async for chunk in chunks:
            yield chunk


def _not_ready(reason: str) -> UserError:
    return UserError(Code.POD_NOT_READY, f"the container has not run yet ({reason})")
