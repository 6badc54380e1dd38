"""asyncssh's server channel, mended where sshd does it otherwise.

It leans on private parts of asyncssh, whose version is pinned for that.
"""

import re

import asyncssh
from asyncssh.packet import SSHPacket, UInt32

# What sshd's AcceptEnv has on Debian, and what terminals send besides.
_ACCEPTED_NAME = re.compile(r"LANG|LC_[A-Z]{1,32}|COLORTERM|TERM")
_MAX_VALUE = 256
WINDOW = 2 * 1024 * 1024
HIGH_WATER, LOW_WATER = 256 * 1024, 64 * 1024


class Channel(asyncssh.SSHServerChannel[bytes]):
    """One session channel: raw bytes, any command, few variables, the exit status last."""

    def __init__(self, connection: asyncssh.SSHServerConnection) -> None:
        super().__init__(
            connection,
            connection._loop,  # noqa: SLF001 - as asyncssh makes its own
            allow_pty=True,
            line_editor=False,
            line_echo=False,
            line_history=0,
            max_line_length=0,
            encoding=None,
            errors="strict",
            window=WINDOW,
            max_pktsize=32768,
        )
        self.accepted_environment: dict[str, str] = {}
        self._exit_status: int | None = None
        self.set_write_buffer_limits(HIGH_WATER, LOW_WATER)

    def finish(self, status: int) -> None:
        """Send what is buffered, then exit-status, EOF and close, in that order.

        (`exit` would send the status ahead of buffered data, and no EOF.)
        """
        if self._send_state == "open":
            self._exit_status = status & 0xFF
            self._flush_send_buf()

    def _flush_send_buf(self) -> None:
        super()._flush_send_buf()
        if self._exit_status is None or self._send_buf or self._send_state != "open":
            return
        status, self._exit_status = self._exit_status, None
        self._send_request(b"exit-status", UInt32(status))
        self.write_eof()
        self.close()

    def _process_exec_request(self, packet: SSHPacket) -> bool:
        """Take commands of any bytes (asyncssh refuses what isn't UTF-8) and don't log them."""
        command = packet.get_string()
        packet.check_end()
        return self._start_session(command=command.decode(errors="surrogateescape"))

    def _process_env_request(self, packet: SSHPacket) -> bool:
        """Keep the few variables that sshd would take: a client could send any number."""
        name, value = packet.get_string(), packet.get_string()
        packet.check_end()
        try:
            key, text = name.decode("ascii"), value.decode()
        except UnicodeDecodeError:
            return False
        if not _ACCEPTED_NAME.fullmatch(key) or len(text) > _MAX_VALUE or "\0" in text:
            return False
        self.accepted_environment[key] = text
        return True
