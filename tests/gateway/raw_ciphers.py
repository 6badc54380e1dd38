"""What guards a raw client's packets, in one direction. Shares no code with asyncssh.

All three leave the length out of what the padding fills up, and count packets from 0, as strict
key exchange has it.
"""

import hmac
import struct
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

# `derive(letter, size)` makes a key of RFC 4253, 7.2; the letters are A to F.
Derive = Callable[[bytes, int], bytes]
TO_SERVER, TO_CLIENT = (b"A", b"C", b"E"), (b"B", b"D", b"F")


class Guard(Protocol):
    """One direction. `tag` is the size of what follows a packet's body."""

    tag: int

    def seal(self, size: int, body: bytes) -> bytes:
        """Return a packet that claims to have a body of `size` bytes."""

    def size(self, head: bytes) -> int:
        """Return the size of the body behind a packet's first 4 bytes."""

    def open(self, head: bytes, rest: bytes) -> bytes:
        """Return the body of a packet."""


class Gcm:
    """aes128-gcm@openssh.com (RFC 5647)."""

    tag = 16

    def __init__(self, derive: Derive, letters: tuple[bytes, bytes, bytes]) -> None:
        self._nonce = derive(letters[0], 12)
        self._aes = AESGCM(derive(letters[1], 16))

    def _next(self) -> bytes:
        nonce = self._nonce
        counter = (int.from_bytes(nonce[4:], "big") + 1) % 2**64
        self._nonce = nonce[:4] + counter.to_bytes(8, "big")
        return nonce

    def seal(self, size: int, body: bytes) -> bytes:
        head = struct.pack(">I", size)
        return head + self._aes.encrypt(self._next(), body, head)

    def size(self, head: bytes) -> int:
        return int.from_bytes(head, "big")

    def open(self, head: bytes, rest: bytes) -> bytes:
        return self._aes.decrypt(self._next(), rest, head)


class ChaCha:
    """chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305)."""

    tag = 16

    def __init__(self, derive: Derive, letters: tuple[bytes, bytes, bytes]) -> None:
        key = derive(letters[1], 64)
        self._main, self._lengths = key[:32], key[32:]
        self._packets = 0

    def _stream(self, key: bytes, block: int, data: bytes) -> bytes:
        nonce = struct.pack("<Q", block) + struct.pack(">Q", self._packets)
        return Cipher(algorithms.ChaCha20(key, nonce), mode=None).encryptor().update(data)

    def _mac(self, data: bytes) -> bytes:
        return Poly1305.generate_tag(self._stream(self._main, 0, bytes(32)), data)

    def seal(self, size: int, body: bytes) -> bytes:
        head = self._stream(self._lengths, 0, struct.pack(">I", size))
        sealed = head + self._stream(self._main, 1, body)
        sealed += self._mac(sealed)
        self._packets += 1
        return sealed

    def size(self, head: bytes) -> int:
        return int.from_bytes(self._stream(self._lengths, 0, head), "big")

    def open(self, head: bytes, rest: bytes) -> bytes:
        assert self._mac(head + rest[: -self.tag]) == rest[-self.tag :]
        body = self._stream(self._main, 1, rest[: -self.tag])
        self._packets += 1
        return body


class CtrEtm:
    """aes256-ctr (RFC 4344) with hmac-sha2-256-etm@openssh.com."""

    tag = 32

    def __init__(self, derive: Derive, letters: tuple[bytes, bytes, bytes]) -> None:
        iv, key, self._mac_key = (
            derive(letter, size) for letter, size in zip(letters, (16, 32, 32), strict=True)
        )
        self._aes = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
        self._packets = 0

    def _mac(self, data: bytes) -> bytes:
        return hmac.digest(self._mac_key, struct.pack(">I", self._packets) + data, sha256)

    def seal(self, size: int, body: bytes) -> bytes:
        sealed = struct.pack(">I", size) + self._aes.update(body)
        sealed += self._mac(sealed)
        self._packets += 1
        return sealed

    def size(self, head: bytes) -> int:
        return int.from_bytes(head, "big")

    def open(self, head: bytes, rest: bytes) -> bytes:
        assert self._mac(head + rest[: -self.tag]) == rest[-self.tag :]
        self._packets += 1
        return self._aes.update(rest[: -self.tag])


MAKE: dict[str, Callable[[Derive, tuple[bytes, bytes, bytes]], Guard]] = {
    "aes128-gcm@openssh.com": Gcm,
    "chacha20-poly1305@openssh.com": ChaCha,
    "aes256-ctr": CtrEtm,
}
