"""Memory that many connections share: each uses it within one call of the event loop only."""

PIECE = 32 * 1024  # the most data that goes into one packet
TURN = 8  # packets that a channel may send before the next one's turn
FLUSH = 256 * 1024  # how much goes to the transport in one go, or one turn more
READ = 1024 * 1024  # fewer, larger reads: a bulk copy costs a quarter less than with 256 KiB
_TLS_READ = 256 * 1024  # asyncio's own size; it takes new memory where it has less
_LARGEST = 257 * 1024  # what asyncssh takes as one packet
_OUTGOING = FLUSH + TURN * (PIECE + 64)


class Incoming:
    """Room for what is received, lent to one reader after the other.

    Shared, since 10,000 idle connections would hold 10 GB otherwise. That is safe because asyncio's
    transports call `get_buffer`, read, and call `buffer_updated` without going back to the loop.
    """

    def __init__(self) -> None:
        self._memory = memoryview(bytearray(_LARGEST + READ))
        self._sealed = bytearray(_TLS_READ)
        self._reader: object = None
        self._start = 0

    def lend(self, reader: object, left: bytes = b"") -> memoryview:
        """Return where to read to, behind what was `left` of the last read."""
        self._reader, self._start = reader, len(left)
        self._memory[: self._start] = left
        return self._memory[self._start : self._start + READ]

    def filled(self, reader: object, size: int) -> memoryview:
        """Return what was left and the `size` bytes read. Valid until the next `lend`."""
        if self._reader is not reader:
            raise RuntimeError("the event loop mixed up two connections' reads")
        return self._memory[: self._start + size]

    def trim(self, transport: object) -> None:
        """Have a TLS transport receive into shared memory, too: asyncio gives each 256 KiB.

        It leans on private parts of asyncio: `_SSLProtocolTransport._ssl_protocol`, and that one's
        `_ssl_buffer` and `_ssl_buffer_view`, which are used just as `lend` and `filled` are.
        """
        tls = getattr(transport, "_ssl_protocol", None)
        if tls is not None:
            tls._ssl_buffer = self._sealed  # noqa: SLF001
            tls._ssl_buffer_view = memoryview(self._sealed)  # noqa: SLF001


class Buffers:
    """Room to receive into and to encrypt into."""

    def __init__(self) -> None:
        self.incoming = Incoming()
        self.outgoing = memoryview(bytearray(_OUTGOING))

    def replace_outgoing(self) -> None:
        """Leave the outgoing memory to a transport that still holds it (Python 3.12 on)."""
        self.outgoing = memoryview(bytearray(_OUTGOING))
