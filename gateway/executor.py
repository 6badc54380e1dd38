"""Starting commands in pods."""

import asyncio
from copy import copy
from functools import partial

import structlog

from gateway import wrapper
from gateway.beside import SECONDS, Beside, ExecLost, Fate
from gateway.buffers import Incoming
from gateway.dialling import Unreached, connect
from gateway.exec import HANGUP_GRACE_SECONDS, Exec, hangup
from gateway.link import Link, LinkRefused
from gateway.outcome import ExecRefused, ExecUnreachable, Sink
from gateway.protocols import ApiServerSource, NoApiServer, PodRef
from gateway.refusal import explain_refusal
from gateway.settings import Rhythm

log = structlog.get_logger()

_RHYTHM = Rhythm()
_UNAUTHORIZED = 401
# From an API server to a command that has begun, a kubelet that is busy included.
_ON_ITS_WAY_SECONDS = 1.0
# An engine of ours may have several at work for one session.
_EXECS_OF_A_SESSION = 16


class _Unanswered(ExecUnreachable):
    """The API server has got the request."""


class Executor:
    """Starts commands, wherever `source` says that the API server is.

    To signal or end one may take `beside_seconds`.
    """

    def __init__(
        self,
        source: ApiServerSource,
        rhythm: Rhythm = _RHYTHM,
        beside_seconds: float = SECONDS,
    ) -> None:
        self._source = source
        self._rhythm = rhythm
        self._beside_seconds = beside_seconds
        self._session = ""
        self._incoming = Incoming()

    def of(self, session: str) -> "Executor":
        """Return one whose commands can be ended by the session's name (16 hex digits) alone."""
        named = copy(self)
        named._session = session  # noqa: SLF001 - our own
        return named

    async def start(self, pod: PodRef, command: wrapper.Command, sink: Sink) -> Exec:
        """Begin `command`; its output goes to `sink`.

        Raises ExecRefused: ExecUnreachable if the API server did not answer, ExecLost if it may
        have begun the command all the same. Don't cancel it: the command may have begun already,
        and only its nonce can end it.
        """
        nonce = wrapper.new_nonce(self._session)
        try:
            argv = wrapper.wrapped(command, nonce)
        except wrapper.CommandRefused as error:
            raise ExecRefused(str(error)) from None
        try:
            return await self._start(pod, argv, nonce, sink, tty=command.tty)
        except _Unanswered as error:
            raise ExecLost(str(error), partial(self._end_unseen, pod, command, nonce)) from None

    async def _end_unseen(self, pod: PodRef, command: wrapper.Command, nonce: str) -> Fate:
        """End what may have begun. If there is nothing, it may have been on its way: look again."""
        argv = hangup(nonce, tty=command.tty, spare=command.kind is not wrapper.Kind.ARGV)
        beside = self._beside(pod)
        fate = await beside.hang_up(argv)
        if fate is Fate.NOT_FOUND:
            await asyncio.sleep(_ON_ITS_WAY_SECONDS)
            fate = await beside.hang_up(argv)
        return fate

    async def hang_up_lost(self, pod: PodRef, session: str, *, spare: bool = True) -> Fate:
        """End what a session left in a pod whose daemon died, as `Exec.hang_up` does.

        What is over already, or was never begun, is NOT_FOUND.
        """
        if spare:
            argv = wrapper.hangup_of_lost(session, grace_seconds=HANGUP_GRACE_SECONDS)
        else:
            argv = hangup(session, tty=False, spare=False)
        beside = self._beside(pod)
        for _ in range(_EXECS_OF_A_SESSION):
            fate = await beside.hang_up(argv)
            if fate is not Fate.ENDED:
                return fate
        return Fate.UNKNOWN

    def _beside(self, pod: PodRef) -> Beside:
        return Beside(pod.name, partial(self._start_beside, pod), self._beside_seconds)

    async def _start_beside(self, pod: PodRef, argv: list[str], sink: Sink) -> Exec:
        return await self._start(pod, argv, wrapper.new_nonce(), sink, tty=False)

    async def _start(
        self, pod: PodRef, argv: list[str], nonce: str, sink: Sink, *, tty: bool
    ) -> Exec:
        query = [("container", pod.container), ("stdin", "true"), ("stdout", "true")]
        query.append(("tty", "true") if tty else ("stderr", "true"))
        query += [("command", word) for word in argv]
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/exec"
        try:
            link, protocol = await self._connect(path, query)
        except Unreached as error:
            raise ExecUnreachable(explain_refusal(error.status, error.body)) from None
        except LinkRefused as error:
            kind = ExecRefused if error.status else _Unanswered
            raise kind(explain_refusal(error.status, error.body)) from None
        except NoApiServer as error:
            log.error("exec_without_credentials", why=str(error))  # noqa: TRY400 - no traceback
            raise ExecRefused(explain_refusal(_UNAUTHORIZED, "")) from None
        running = Exec(link, self._beside(pod), self._rhythm, nonce, protocol, sink, tty=tty)
        link.start(running)
        return running

    async def _connect(self, path: str, query: list[tuple[str, str]]) -> tuple[Link, str]:
        """Connect, once more where it may go better: by new credentials, or to another address."""
        server = await self._source.api_server()
        try:
            return await connect(server, path, query, self._incoming)
        except Unreached:
            if not self._source.avoid(server):
                raise
        except LinkRefused as error:
            if error.status != _UNAUTHORIZED:
                raise
            # They may have been replaced.
            self._source.refused(server)
        return await connect(await self._source.api_server(), path, query, self._incoming)
