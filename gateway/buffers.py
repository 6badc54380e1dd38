"""Memory that all connections share: each uses it within one call of the event loop only."""

PIECE = 32 * 1024  # the most data that goes into one packet
TURN = 8  # packets that a channel may send before the next one's turn
READ = 256 * 1024  # asyncio's own size of a read
FLUSH = 256 * 1024  # how much goes to the transport in one go, or one turn more
_INCOMING = READ + 256 * 1024 + 1024  # asyncssh takes packets of up to 256 KiB
_OUTGOING = FLUSH + TURN * (PIECE + 64)


class Buffers:
    """Room to receive into and to encrypt into.

    Shared, since 10,000 idle connections would hold 8 GB otherwise. That is safe because asyncio's
    transports call `get_buffer`, read, and call `buffer_updated` without going back to the loop.
    """

    def __init__(self) -> None:
        self.incoming = memoryview(bytearray(_INCOMING))
        self.reader: object = None
        self.outgoing = memoryview(bytearray(_OUTGOING))

    def replace_outgoing(self) -> None:
        """Leave the outgoing memory to a transport that still holds it (Python 3.12 on)."""
        self.outgoing = memoryview(bytearray(_OUTGOING))
