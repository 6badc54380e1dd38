"""The socket that systemd would listen on, and what it was told there, by whom."""

import socket
import struct
import tempfile
from pathlib import Path
from typing import Self

_CREDENTIALS = struct.Struct("iII")


class Systemd:
    """Listens as systemd does (sd_notify(3)): each datagram with its sender's pid."""

    def __init__(self) -> None:
        # Short: a socket's path has 107 bytes.
        self._folder = tempfile.TemporaryDirectory(prefix="kgpud-")
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told: list[tuple[int, str]] = []

    def __enter__(self) -> Self:
        path = Path(self._folder.name) / "notify"
        self._sock.bind(str(path))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._sock.setblocking(False)
        self.env = {"NOTIFY_SOCKET": str(path)}
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()
        self._folder.cleanup()

    def told_by(self, pid: int) -> list[str]:
        """Return what a process has told by now, in order; times are left out."""
        self._read()
        return [word for who, word in self._told if who == pid]

    def _read(self) -> None:
        while True:
            try:
                data, extra, _, _ = self._sock.recvmsg(4096, 1024)
            except BlockingIOError:
                return
            [(_, _, sender)] = extra
            pid, _, _ = _CREDENTIALS.unpack(sender[: _CREDENTIALS.size])
            for line in data.decode().splitlines():
                if not line.startswith("MONOTONIC_USEC="):
                    self._told.append((pid, line))
