"""Starting commands in pods, and the short second execs that signal and end them."""

import asyncio
from functools import partial

import structlog

from gateway import wrapper
from gateway.buffers import Incoming
from gateway.dialling import connect
from gateway.exec import Exec
from gateway.link import LinkRefused
from gateway.outcome import ExecRefused, Outcome, Sink
from gateway.protocols import ApiServerSource, PodRef
from gateway.refusal import explain_refusal
from gateway.settings import Rhythm

log = structlog.get_logger()

_BESIDE_SECONDS = 30.0
_RHYTHM = Rhythm()


class Executor:
    """Starts commands, wherever `source` says that the API server is."""

    def __init__(self, source: ApiServerSource, rhythm: Rhythm = _RHYTHM) -> None:
        self._source = source
        self._rhythm = rhythm
        self._incoming = Incoming()

    async def start(self, pod: PodRef, command: wrapper.Command, sink: Sink) -> Exec:
        """Begin `command`; its output goes to `sink`. Raises ExecRefused.

        Don't cancel it: the command may have begun already, and only its nonce can end it.
        """
        nonce = wrapper.new_nonce()
        try:
            argv = wrapper.wrapped(command, nonce)
        except wrapper.CommandRefused as error:
            raise ExecRefused(str(error)) from None
        return await self._start(pod, argv, nonce, sink, tty=command.tty)

    async def _run_beside(self, pod: PodRef, argv: list[str], failure: str) -> None:
        sink = _Ended()
        try:
            async with asyncio.timeout(_BESIDE_SECONDS):
                second = await self._start(pod, argv, wrapper.new_nonce(), sink, tty=False)
                try:
                    await sink.ended
                finally:
                    second.leave()
        except (ExecRefused, TimeoutError) as error:
            log.warning(failure, pod=pod.name, why=str(error) or "timeout")

    async def _start(
        self, pod: PodRef, argv: list[str], nonce: str, sink: Sink, *, tty: bool
    ) -> Exec:
        query = [("container", pod.container), ("stdin", "true"), ("stdout", "true")]
        query.append(("tty", "true") if tty else ("stderr", "true"))
        query += [("command", word) for word in argv]
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/exec"
        try:
            server = await self._source.api_server()
            link, protocol = await connect(server, path, query, self._incoming)
        except LinkRefused as error:
            raise ExecRefused(explain_refusal(error.status, error.body)) from None
        beside = partial(self._run_beside, pod)
        running = Exec(link, beside, self._rhythm, nonce, protocol, sink, tty=tty)
        link.start(running)
        return running


class _Ended:
    """A sink that only waits for the end."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def stdout(self, data: bytes) -> None:
        """Drop it."""

    def stderr(self, data: bytes) -> None:
        """Drop it."""

    def stdin_ready(self, *, ready: bool) -> None:
        """Nothing is written."""

    def finished(self, outcome: Outcome) -> None:
        """Wake who waits."""
        if not self.ended.done():
            self.ended.set_result(outcome)
