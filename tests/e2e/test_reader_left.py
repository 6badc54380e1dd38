"""A client that reads stdout no more says so, and gives no credit for what it has thrown away."""

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from .dev import Pod, eventually
from .library import connected


def test_a_full_window_keeps_neither_the_command_nor_its_end(pod: Pod) -> None:
    with connected(pod) as client:
        transport = client.get_transport()
        assert transport
        channel = transport.open_session(timeout=20)
        window = channel.in_window_size
        channel.exec_command("yes; echo $? >/tmp/yes; echo said >&2; exit 6")
        eventually(lambda: len(channel.in_buffer) == window)
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string("eow@openssh.com")
        message.add_boolean(False)
        transport._send_user_message(message)
        assert channel.recv_exit_status() == 6
    assert pod.ssh("cat /tmp/yes").stdout == b"141\n"
