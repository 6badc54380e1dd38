"""One-shot commands in a pod."""

import asyncio
import base64
import codecs
import time

import structlog

from gateway import capture
from gateway.outcome import ExecBroken, ExecRefused, ExecUnreachable
from gateway.protocols import PodRef
from kgpud.cluster.errors import ClusterError
from kgpud.cluster.pods import CONTAINER, STARTING
from kgpud.errors import Code, UserError
from kgpud.rest.call import Call
from kgpud.rest.shapes.commands import Completed, Exec

log = structlog.get_logger()

OUTPUT_LIMIT = 1 << 20
_PIECE = 64 << 10


async def exec_command(call: Call[Exec]) -> Completed:
    """Run one command to its end, or to its timeout with what it wrote until then.

    There is no terminal. When the time is up, or the caller goes, the command is killed in the
    pod, with everything in its session.
    """
    services, body = call.services, call.body
    pod = await _ready_pod(call)
    begun = time.monotonic()
    # As with sessions: who, from where and into which pod, never what.
    log.info("command.begun", pod_id=call.pod_id, account=call.account.account_id)
    call.lasts()
    try:
        with (
            services.execs.taken(call.pod_id),
            services.commands.noted(call.pod_id, body.timeout_seconds) as noted,
        ):
            done = await capture.run(
                noted.executor,
                pod,
                body.cmd,
                stdin=body.input,
                output_limit=OUTPUT_LIMIT,
                timeout=body.timeout_seconds,
                left=noted.left,
            )
    except ExecUnreachable as error:
        raise UserError(Code.CLUSTER_UNREACHABLE, str(error)) from error
    except (ExecRefused, ExecBroken) as error:
        # A pod that ended meanwhile is no fault of ours.
        await _ready_pod(call)
        raise UserError(Code.EXEC_FAILED, str(error)) from error
    except ClusterError as error:
        raise UserError(Code.CLUSTER_UNREACHABLE, "the cluster does not answer") from error
    sent = len(body.input) + sum(len(word) for word in body.cmd)
    await services.core.activity(call.pod_id, sent, len(done.stdout) + len(done.stderr))
    return Completed(
        exit_code=done.exit_code,
        stdout=await _text(done.stdout),
        stderr=await _text(done.stderr),
        duration_ms=round((time.monotonic() - begun) * 1000),
        truncated=done.truncated,
        timed_out=done.timed_out,
        **(_raw(done) if body.output_base64 else {}),
    )


async def _text(output: bytes) -> str:
    """Return it as text, a piece at a time: bytes that are none take long to replace."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    pieces = []
    for start in range(0, len(output), _PIECE):
        pieces.append(decoder.decode(output[start : start + _PIECE]))
        await asyncio.sleep(0)
    return "".join([*pieces, decoder.decode(b"", final=True)])


def _raw(done: capture.Completed) -> dict[str, str]:
    return {
        "stdout_base64": base64.b64encode(done.stdout).decode(),
        "stderr_base64": base64.b64encode(done.stderr).decode(),
    }


async def _ready_pod(call: Call[Exec]) -> PodRef:
    rental = await call.services.rentals.get(call.account.account_id, call.pod_id)
    if rental.ended_at is not None:
        raise UserError(Code.POD_ENDED, f"the rental has ended ({rental.end_reason})")
    if rental.phase != "Running" or not rental.ready:
        reason = rental.pending_reason or STARTING
        raise UserError(Code.POD_NOT_READY, f"the pod is not ready yet ({reason}); try again soon")
    if not call.services.catalog.fresh:
        raise UserError(Code.CLUSTER_UNREACHABLE, "the cluster does not answer; try again soon")
    return PodRef(call.services.namespace, rental.pod_id, CONTAINER)
