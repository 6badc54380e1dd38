"""One SSH connection: when its key exchange begins, who signed, when it must go.

It leans on private parts of asyncssh, whose version is pinned for that.
"""

import asyncio
import contextlib
import logging
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import structlog
from asyncssh.constants import (
    MSG_KEXINIT,
    MSG_USERAUTH_BANNER,
    MSG_USERAUTH_FAILURE,
    MSG_USERAUTH_REQUEST,
)
from asyncssh.logging import SSHLogger
from asyncssh.misc import OptExcInfo
from asyncssh.packet import Boolean, NameList, PacketDecodeError, SSHPacket, String

from gateway import algorithms, keys, userauth
from gateway.admission import Admission, Place, Visit
from gateway.buffers import Buffers
from gateway.channel import Channel
from gateway.fastpath import FastPath
from gateway.protocols import Core, Route
from gateway.turns import Turns
from gateway.userauth import AuthRequest

log = structlog.get_logger()

MAX_SESSIONS = 10  # as sshd's MaxSessions
_PROOFS = 4  # clients ask once, for all keys that they don't know yet
_DISMISSAL_SECONDS = 3.0
_MSG_USERAUTH_PK_OK = 60  # RFC 4252, 7
_NO_SUCH_USER = "kgpud: log in as kgpu (ssh kgpu@...): the key says which rental it is\r\n"


class Connection(FastPath):
    """A client's connection. `fingerprint` and `route` are set once, by a verified signature."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: asyncssh.SSHServerConnectionOptions,
        core: Core,
        buffers: Buffers,
        turns: Turns,
        admission: Admission,
        visit: Visit,
    ) -> None:
        super().__init__(loop, options, buffers, turns)
        self._core = core
        self._admission = admission
        self._visit = visit
        visit.hang_up = self.abort
        self._proofs = 0
        self._greeted = False
        self._dismissal = ""
        self._last_call: asyncio.TimerHandle | None = None
        self.fingerprint: str | None = None
        self.route: Route | None = None

    @property
    def peer(self) -> str:
        """The client's address."""
        return str((self.get_extra_info("peername") or ("",))[0])

    @property
    def variables(self) -> dict[str, str]:
        """What sshd tells commands of their connection (session.c, do_setup_env)."""
        client, server = self.get_extra_info("peername"), self.get_extra_info("sockname")
        if not client or not server:
            return {}
        from_, to = f"{client[0]} {client[1]}", f"{server[0]} {server[1]}"
        return {"SSH_CLIENT": f"{from_} {server[1]}", "SSH_CONNECTION": f"{from_} {to}"}

    @property
    def client(self) -> str:
        """What the client calls itself: printable ASCII, at most 255 characters."""
        said = self._client_version.decode("ascii", "replace").removeprefix("SSH-2.0-")
        return "".join(c if " " <= c <= "~" else "?" for c in said[:255])

    @property
    def channel_count(self) -> int:
        """How many channels there are, those included whose opening isn't confirmed yet."""
        return len(self._channels)

    def remove_channel(self, recv_chan: int) -> None:
        """Count a channel out."""
        channel = self._channels[recv_chan]
        assert isinstance(channel, Channel)
        super().remove_channel(recv_chan)
        channel.place.release()
        self._hang_up_if_dismissed()

    def open_session(self) -> Place | str:
        """Return a new session's place, or why there may be no more."""
        if self._dismissal:
            return self._dismissal
        if self.channel_count >= MAX_SESSIONS:
            return f"at most {MAX_SESSIONS} sessions on one connection"
        return self._admission.open_session(self._visit)

    def session_delay(self) -> float:
        """Return the seconds to wait before its rental's next session begins."""
        assert self.route is not None
        return self._admission.session_delay(self.route.rental)

    def dismiss(self, sentence: str) -> None:
        """Hang up once its last channel is closed, which must be soon; say why."""
        self._dismissal = sentence
        self._hang_up_if_dismissed()
        if self._transport is not None:
            self._last_call = self._loop.call_later(_DISMISSAL_SECONDS, self.abort)

    def _hang_up_if_dismissed(self) -> None:
        if self._dismissal and not self._channels and self._transport is not None:
            self.disconnect(asyncssh.DISC_BY_APPLICATION, self._dismissal)

    def left(self) -> None:
        """Count the connection out."""
        if self._last_call is not None:
            self._last_call.cancel()
        shut_out = self._admission.leave(self._visit)
        if shut_out:
            log.warning("ssh.source_shut_out", source=shut_out)

    async def _process_kexinit(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        """Begin a key exchange when its turn comes: floods of them must not eat the processor."""
        if not self._session_id:
            delay = self._admission.key_exchange_delay(self._visit)
        elif not self._auth_complete:
            # As with sshd; nobody has sent so much by then that keys would be worn.
            raise asyncssh.ProtocolError("key exchange before authentication")
        else:
            delay = 0.0 if self._kexinit_sent else self._admission.rekey_delay(self._visit)
        if delay and not await self._outlives(delay):
            if not self._session_id:
                self._admission.give_key_exchange_back(self._visit)
            return
        wrong = self._guessed_wrong(packet.get_full_payload())
        await super()._process_kexinit(pkttype, pktid, packet)
        self._ignore_first_kex = wrong

    async def _outlives(self, seconds: float) -> bool:
        """Wait, with reading paused; return whether the connection is still there."""
        with self._reading_paused(), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._close_event.wait()
        return self._transport is not None

    def _guessed_wrong(self, kexinit: bytes) -> bool:
        """Tell whether the client sent a guess that it will not count on (RFC 4253, 7.1).

        asyncssh goes by what was agreed on instead, and hangs up on dropbear for it.
        """
        packet = SSHPacket(kexinit)
        packet.get_bytes(17)  # type and cookie
        lists = [packet.get_namelist() for _ in range(10)]
        ours = (list(self._kex_algs)[:1], list(self._server_host_key_algs or ())[:1])
        return packet.get_boolean() and (lists[0][:1], lists[1][:1]) != ours

    async def _process_userauth_request(self, _type: int, _id: int, packet: SSHPacket) -> None:
        """Answer one request after the other: asyncssh reads on when this one is done.

        Nothing of asyncssh's own authentication is used, which answers several at a time, knows
        more methods, and takes signatures with SHA-1.
        """
        if self._auth_complete:
            # RFC 4252, 5.1: what came behind the successful request is passed over.
            if self._auth_final:
                raise asyncssh.ProtocolError("authentication request after authentication")
            return
        if not self._auth_in_progress:
            raise asyncssh.ProtocolError("authentication request before the service's")
        request = userauth.parse(packet)
        # Clients begin with "none" to learn what there is.
        free = request.method == b"none" and not self._greeted
        if request.user != userauth.USER and not self._greeted:
            # RFC 4252, 5.4. Without it there is but "Permission denied".
            self.send_packet(MSG_USERAUTH_BANNER, String(_NO_SUCH_USER), String(""))
        self._greeted = True
        if not free and not self._admission.attempt(self._visit):
            raise asyncssh.ProtocolError("Too many authentication failures")
        with self._reading_paused():
            await self._answer(request)

    async def _answer(self, request: AuthRequest) -> None:
        """Let in whoever signed with the key of a live rental; the key that signed decides."""
        name = keys.fingerprint(request.key)
        route = await self._resolve(name) if request.may_pass else None
        if self._transport is None:
            return
        self._visit.shown = name if route else None
        if route is None:
            self._refuse()
        elif request.signature is None:
            self.send_packet(_MSG_USERAUTH_PK_OK, String(request.algorithm), String(request.key))
        elif userauth.verified(request, self._session_id):
            await self._let_in(name, route)
        else:
            self._refuse()

    async def _resolve(self, name: str) -> Route | None:
        try:
            return await self._core.resolve(name)
        except Exception:
            log.exception("ssh.key_lookup_failed")
            raise asyncssh.ServiceNotAvailable("keys can't be looked up just now") from None

    async def _let_in(self, name: str, route: Route) -> None:
        full = self._admission.log_in(self._visit, name)
        if full:
            raise asyncssh.DisconnectError(asyncssh.DISC_TOO_MANY_CONNECTIONS, full)
        self.fingerprint, self.route = name, route
        await self.send_userauth_success()

    def _refuse(self) -> None:
        self.send_packet(MSG_USERAUTH_FAILURE, NameList([userauth.METHOD]), Boolean(False))

    @contextlib.contextmanager
    def _reading_paused(self) -> Iterator[None]:
        """Let the kernel hold what the client sends meanwhile."""
        self.hold_reading("an answer in work")
        try:
            yield
        finally:
            self.release_reading("an answer in work")

    def _send_kexinit(self) -> None:
        ciphers = algorithms.ciphers_for(self._client_version)
        self._enc_algs = [name.encode() for name in ciphers]
        super()._send_kexinit()

    # asyncssh asks its owner in a task, and a client could ask faster than it answers.

    def _process_tcpip_forward_global_request(self, packet: SSHPacket) -> None:
        """Refuse -R."""
        del packet
        self._report_global_response(result=False)

    def _process_streamlocal_forward_at_openssh_dot_com_global_request(
        self, packet: SSHPacket
    ) -> None:
        """Refuse -R with a socket's path."""
        del packet
        self._report_global_response(result=False)

    def _process_hostkeys_prove_00_at_openssh_dot_com_global_request(
        self, packet: SSHPacket
    ) -> None:
        """Prove host keys a few times, each once: every proof is a signature.

        OpenSSH's PROTOCOL, 2.5: ``hostkeys-prove-00@openssh.com``.
        """
        self._proofs += 1
        asked = SSHPacket(packet.get_remaining_payload())
        names = []
        while asked:
            names.append(asked.get_string())
        ours = len(names) == len(self._all_server_host_keys.keys() & names)
        if self._proofs > _PROOFS or not ours:
            self._report_global_response(result=False)
        else:
            super()._process_hostkeys_prove_00_at_openssh_dot_com_global_request(packet)

    def internal_error(
        self,
        exc_info: OptExcInfo | None = None,
        error_logger: SSHLogger | None = None,
    ) -> None:
        """End the connection; say why in the log, where asyncssh would keep it to itself."""
        # Once only: asyncssh comes here again for whatever was received by then.
        if self._transport is not None:
            self._tell_failure((exc_info or sys.exc_info())[1])
        super().internal_error(exc_info, error_logger)

    def _tell_failure(self, error: BaseException | None) -> None:
        """Log an error by its type and place: its text may quote the client."""
        frames = traceback.extract_tb(error.__traceback__) if error else []
        theirs = self.route is None or isinstance(error, PacketDecodeError)
        log.log(
            logging.INFO if theirs else logging.ERROR,
            "ssh.connection_failed",
            error=type(error).__name__,
            where=f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None,
        )

    _packet_handlers = {  # noqa: RUF012 - never changed
        **asyncssh.SSHServerConnection._packet_handlers,  # noqa: SLF001 - as asyncssh extends its own
        MSG_KEXINIT: _process_kexinit,
        MSG_USERAUTH_REQUEST: _process_userauth_request,
    }
