"""asyncssh's server channel, mended where sshd does it otherwise.

It leans on private parts of asyncssh 2.24.1: `_process_*_request`, `_start_session`,
`_send_request`, `_send_state`.
"""

import re

import asyncssh
from asyncssh.packet import SSHPacket, UInt32

from gateway.admission import Place
from gateway.flow import Flow, Sender

# What sshd's AcceptEnv has on Debian, and what terminals send besides.
_ACCEPTED_NAME = re.compile(r"LANG|LC_[A-Z]{1,32}|COLORTERM|TERM")
_MAX_VALUE = 256
_MAX_VARIABLES = 64


class Channel(Flow):
    """One session channel: any command, few variables, the exit status last, no forwarding."""

    def __init__(
        self, connection: asyncssh.SSHServerConnection, sender: Sender, place: Place
    ) -> None:
        super().__init__(connection, sender)
        self.place = place
        self.accepted_environment: dict[str, str] = {}
        self._exit_status: int | None = None
        self.reader_left = False

    def finish(self, status: int) -> None:
        """Send what is buffered, then exit-status, EOF and close, in that order.

        (`exit` would send the status ahead of buffered data, and no EOF.)
        """
        if self._send_state == "open":
            self._exit_status = status & 0xFF
            if self.reader_left and not self._send_window:
                self.drop_queued(stderr=True)
            else:
                self._flush_send_buf()

    def settle(self) -> None:
        """Send the exit status as soon as all data is out, then EOF and close."""
        super().settle()
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
        if len(self.accepted_environment) >= _MAX_VARIABLES:
            return False
        self.accepted_environment[key] = text
        return True

    def _process_eow_at_openssh_dot_com_request(self, packet: SSHPacket) -> bool:
        """Note that stdout is read no more, as in `ssh … | head` (OpenSSH's PROTOCOL, 2.1).

        The client throws away what it has got and gives no credit for it, so what waits here may
        never go out.
        """
        packet.check_end()
        self.reader_left = True
        self.drop_queued()
        return True

    # asyncssh answers these later, and a client could ask faster than it answers.

    def _process_x11_req_request(self, packet: SSHPacket) -> bool:
        """Refuse -X and -Y."""
        del packet
        return False

    def _process_auth_agent_req_at_openssh_dot_com_request(self, packet: SSHPacket) -> None:
        """Refuse -A."""
        del packet
        self._report_response(result=False)
