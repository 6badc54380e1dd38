"""AES-GCM for SSH packets (RFC 5647): one AESGCM object a key, where asyncssh makes one a packet.

It leans on private parts of asyncssh 2.24.1: `GCMEncryption._cipher`, and its `_key` and `_iv`.
`tests/gateway/test_pinned.py` tells when they are gone.
"""

from asyncssh.encryption import Encryption, GCMEncryption
from asyncssh.misc import MACError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TAG = 16  # bytes behind each packet, and the block that a packet's length is a multiple of
_FIXED = 4
_COUNTER_MASK = (1 << 64) - 1


class Gcm(Encryption):
    """One direction's cipher under one key, in place of asyncssh's own.

    The nonce is four fixed bytes and a 64-bit counter of packets, which wraps. Keys change long
    before: asyncssh counts bytes and time, and a packet is 36 bytes at least.
    """

    def __init__(self, key: bytes, nonce: bytes) -> None:
        self._aes = AESGCM(key)
        self._fixed = nonce[:_FIXED]
        self._counter = int.from_bytes(nonce[_FIXED:], "big")
        self._opened: bytes | None = None

    @classmethod
    def instead_of(cls, cipher: Encryption | None) -> Encryption | None:
        """Return a faster cipher that goes on where `cipher` stands, or `cipher` itself."""
        if not isinstance(cipher, GCMEncryption):
            return cipher
        inner = cipher._cipher  # noqa: SLF001
        return cls(inner._key, inner._iv)  # noqa: SLF001

    def seal_into(self, out: memoryview, at: int, bodies: list[bytes]) -> int:
        """Encrypt packets into `out` from `at` on; return where they end.

        Each is its 4 bytes of length, the body, the tag.
        """
        encrypt, fixed, counter = self._aes.encrypt_into, self._fixed, self._counter
        for plain in bodies:
            size = len(plain)
            length = size.to_bytes(4, "big")
            end = at + 4 + size + TAG
            out[at : at + 4] = length
            encrypt(fixed + counter.to_bytes(8, "big"), plain, length, out[at + 4 : end])
            counter = (counter + 1) & _COUNTER_MASK
            at = end
        self._counter = counter
        return at

    def open(self, length: memoryview, sealed: memoryview) -> bytes:
        """Decrypt a packet's body, given with its tag. Raises MACError."""
        try:
            return self._aes.decrypt(self._next_nonce(), sealed, length)
        except InvalidTag:
            raise MACError("MAC verification failed") from None

    def give_back(self, plain: bytes) -> None:
        """Keep what was opened for asyncssh, which is about to ask for it."""
        self._opened = plain

    # What asyncssh calls.

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        """Encrypt one packet of asyncssh's making; `header` is its length."""
        del seq
        sealed = self._aes.encrypt(self._next_nonce(), packet, header)
        return header + sealed[:-TAG], sealed[-TAG:]

    def decrypt_header(self, seq: int, first_block: bytes, header_len: int) -> tuple[bytes, bytes]:
        """Return the length, which is not encrypted."""
        del seq
        return first_block, first_block[:header_len]

    def decrypt_packet(
        self, seq: int, first: bytes, rest: bytes, header_len: int, mac: bytes
    ) -> bytes | None:
        """Decrypt a packet, or hand out what was given back. None if its tag is wrong."""
        del seq
        plain, self._opened = self._opened, None
        if plain is not None:
            return plain
        sealed = first[header_len:] + rest + mac
        try:
            return self._aes.decrypt(self._next_nonce(), sealed, first[:header_len])
        except InvalidTag:
            return None

    def _next_nonce(self) -> bytes:
        counter = self._counter
        self._counter = (counter + 1) & _COUNTER_MASK
        return self._fixed + counter.to_bytes(8, "big")
