"""A real terminal with a program on it."""

import fcntl
import os
import pty
import select
import struct
import termios
import time


class Terminal:
    """A command on a terminal of its own, 80 by 24 unless told otherwise."""

    def __init__(self, argv: list[str], columns: int = 80, rows: int = 24) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvp(argv[0], argv)
        self.seen = b""

    def until(self, text: bytes, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, self.seen
            self.seen += os.read(self.fd, 65536)

    def type(self, text: bytes) -> None:
        self.seen = b""
        os.write(self.fd, text)

    def close(self) -> int:
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)
