"""One SSH connection: who signed, the channels it may open, and the pressure of its transport.

It leans on private parts of asyncssh, whose version is pinned for that.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from typing import NoReturn, Protocol

import asyncssh
from asyncssh.constants import MSG_IGNORE
from asyncssh.packet import SSHPacketLogger

from gateway.channel import HIGH_WATER, LOW_WATER, Channel
from gateway.protocols import Core, Route

USER = "kgpu"
MAX_SESSIONS = 10  # as sshd's MaxSessions

_FAST_CIPHERS = (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com")


class Pressed(Protocol):
    """A session that holds its output back while the connection can't take more."""

    def transport_pressed(self, *, pressed: bool) -> None:
        """Hold output back (True), or go on (False)."""


class Connection(asyncssh.SSHServerConnection):
    """A client's connection. `fingerprint` and `route` are set once, by a verified signature."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: asyncssh.SSHServerConnectionOptions,
        core: Core,
    ) -> None:
        super().__init__(loop, options)
        self._core = core
        self.fingerprint: str | None = None
        self.route: Route | None = None
        self.sessions: set[Pressed] = set()

    @property
    def peer(self) -> str:
        """The client's address."""
        return str((self.get_extra_info("peername") or ("",))[0])

    @property
    def client(self) -> str:
        """What the client calls itself: printable ASCII, at most 255 characters."""
        said = self._client_version.decode("ascii", "replace").removeprefix("SSH-2.0-")
        return "".join(c if " " <= c <= "~" else "?" for c in said[:255])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with limits on what the transport may hold."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        """Hold the sessions' output back (asyncssh does nothing here)."""
        for session in list(self.sessions):
            session.transport_pressed(pressed=True)

    def resume_writing(self) -> None:
        """Let the sessions' output flow."""
        for session in list(self.sessions):
            session.transport_pressed(pressed=False)

    async def reload_config(self) -> None:
        """Skip it: there is no per-user configuration to read again."""

    async def validate_public_key(
        self, username: str, key_data: bytes, msg: bytes, signature: bytes
    ) -> bool:
        """Decide about a key, offered (no `msg`) or signed with.

        Only the key that signed decides where the connection leads, and only the first: it is
        noted here, with no await between the verified signature and the note.
        """
        if self.route is not None or username != USER:
            return False
        name = fingerprint(key_data)
        route = await self._core.resolve(name)
        if route is None:
            return False
        valid = await super().validate_public_key(username, key_data, msg, signature)
        if valid and msg:
            if self.route is not None:
                return False
            self.fingerprint, self.route = name, route
        return valid

    def send_packet(
        self, pkttype: int, *args: bytes, handler: SSHPacketLogger | None = None
    ) -> None:
        """Leave out the MSG_IGNORE that asyncssh puts before every packet.

        It guards CBC's chained vectors, and no cipher here is CBC.
        """
        if pkttype != MSG_IGNORE:
            super().send_packet(pkttype, *args, handler=handler)

    def _send_kexinit(self) -> None:
        # The client's order wins, and OpenSSH's begins with chacha20, at three times the cost.
        if b"OpenSSH" in self._client_version:
            self._enc_algs = list(_FAST_CIPHERS)
        super()._send_kexinit()


def fingerprint(key_data: bytes) -> str:
    """Name a key blob as ``ssh-keygen -l`` does."""
    digest = hashlib.sha256(key_data).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class Owner(asyncssh.SSHServer):
    """asyncssh's questions about one connection, answered. What is not here is refused."""

    def __init__(
        self, make_session: Callable[[Connection], asyncssh.SSHServerSession[bytes]]
    ) -> None:
        self._make_session = make_session
        self._connection: Connection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Remember whose questions these are."""
        assert isinstance(conn, Connection)
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        """Nobody comes in without a key."""
        del username
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys, and nothing but keys."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """`Connection.validate_public_key` has decided already."""
        del username, key
        return True

    def session_requested(
        self,
    ) -> tuple[Channel, asyncssh.SSHServerSession[bytes]] | bool:
        """Open a session channel, up to sshd's number of them."""
        if self._connection.route is None:
            return False
        if len(self._connection.sessions) >= MAX_SESSIONS:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_RESOURCE_SHORTAGE, f"at most {MAX_SESSIONS} sessions a connection"
            )
        return Channel(self._connection), self._make_session(self._connection)

    def connection_requested(self, *_: object) -> NoReturn:
        """Refuse -L, -D and -W."""
        raise _no_forwarding()

    def unix_connection_requested(self, dest_path: str) -> NoReturn:
        """Refuse -L to a socket's path."""
        del dest_path
        raise _no_forwarding()

    def tun_requested(self, unit: int | None) -> NoReturn:
        """Refuse -w."""
        del unit
        raise _no_forwarding()

    def tap_requested(self, unit: int | None) -> NoReturn:
        """Refuse -w with Tunnel=ethernet."""
        del unit
        raise _no_forwarding()


def _no_forwarding() -> asyncssh.ChannelOpenError:
    reason = "forwarding is disabled here"
    return asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, reason)
