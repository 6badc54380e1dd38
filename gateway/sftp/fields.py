"""The fields that SFTP packets are made of (RFC 4251, 5): read with bounds, written."""

import struct


class Malformed(ValueError):
    """Bytes that no client should send; the text says what is wrong with them."""


class Fields:
    """Reads one packet's fields, first to last. Every method raises Malformed at its end."""

    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        self._at = 0

    def byte(self) -> int:
        """Return the next byte."""
        return self._take(1)[0]

    def uint32(self) -> int:
        """Return the next 4 bytes as a number."""
        return int.from_bytes(self._take(4), "big")

    def uint64(self) -> int:
        """Return the next 8 bytes as a number."""
        return int.from_bytes(self._take(8), "big")

    def string(self) -> bytes:
        """Return the next string: any bytes."""
        return self._take(self.uint32())

    def path(self) -> bytes:
        """Return the next string as a path: it has no NUL."""
        path = self.string()
        if b"\0" in path:
            raise Malformed("a NUL in a path")
        return path

    def _take(self, size: int) -> bytes:
        piece = self._packet[self._at : self._at + size]
        if len(piece) < size:
            raise Malformed("a packet that ends before its fields do")
        self._at += size
        return piece


def string(data: bytes) -> bytes:
    """Write a string."""
    return struct.pack(">I", len(data)) + data
