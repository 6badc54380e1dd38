"""Messages with file descriptors between the cluster and a pod's helper.

One datagram of a SOCK_SEQPACKET pair is one message: a JSON object and up to 16 descriptors.
A large object travels in a memfd, so that no message meets the socket's buffer limit.
Used on both sides; the standard library alone.
"""

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

INLINE_LIMIT = 32 * 1024
MAX_FDS = 16

Message = dict[str, Any]


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a message socket, both close-on-exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message with copies of `fds`; the caller keeps its own.

    Raises BlockingIOError when a non-blocking socket is full, OSError when the peer is gone.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) <= INLINE_LIMIT:
        socket.send_fds(sock, [b"i", body], list(fds))
        return
    memory = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        left = memoryview(body)
        while left:
            left = left[os.write(memory, left) :]
        socket.send_fds(sock, [b"m"], [memory, *fds])
    finally:
        os.close(memory)


def receive(sock: socket.socket) -> tuple[Message, list[int]] | None:
    """Return the next message and its descriptors (close-on-exec), or None at the end.

    Raises BlockingIOError when a non-blocking socket has nothing.
    """
    data, fds, _flags, _address = socket.recv_fds(sock, INLINE_LIMIT + 1, MAX_FDS + 1)
    for fd in fds:
        os.set_inheritable(fd, False)  # Python 3.11's recv_fds drops its flags argument.
    if not data:
        return None
    if data[:1] == b"i":
        return json.loads(data[1:]), fds
    memory = fds.pop(0)
    try:
        body = os.pread(memory, os.fstat(memory).st_size, 0)
    finally:
        os.close(memory)
    return json.loads(body), fds
