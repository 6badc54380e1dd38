"""Authentication requests (RFC 4252): read one, and tell whether its signature is the key's."""

from dataclasses import dataclass

import asyncssh
from asyncssh.packet import PacketDecodeError, SSHPacket, String
from asyncssh.public_key import decode_ssh_public_key

from gateway import keys
from gateway.algorithms import SIGNATURES

USER = b"kgpu"
SERVICE = b"ssh-connection"
METHOD = b"publickey"

_SIGNATURES = frozenset(name.encode() for name in SIGNATURES)


@dataclass(frozen=True)
class AuthRequest:
    """One SSH_MSG_USERAUTH_REQUEST, as the client sent it.

    The last four are empty unless the method is ``publickey``; `signature` is None in a probe,
    which asks whether a key would do. `signed` is the part of the message that is signed.
    """

    user: bytes
    service: bytes
    method: bytes
    algorithm: bytes = b""
    key: bytes = b""
    signed: bytes = b""
    signature: bytes | None = None

    @property
    def may_pass(self) -> bool:
        """Whether it asks for what is given here at all: our one user, with a key of our kinds."""
        return (
            self.user == USER
            and self.service == SERVICE
            and self.method == METHOD
            and self.algorithm in _SIGNATURES
        )


def parse(packet: SSHPacket) -> AuthRequest:
    """Read a request whose type byte is read already. Raises PacketDecodeError."""
    user, service, method = (packet.get_string() for _ in range(3))
    if method != METHOD:
        return AuthRequest(user, service, method)
    with_signature = packet.get_boolean()
    algorithm, key = packet.get_string(), packet.get_string()
    signed = packet.get_consumed_payload()
    signature = packet.get_string() if with_signature else None
    packet.check_end()
    return AuthRequest(user, service, method, algorithm, key, signed, signature)


def verified(request: AuthRequest, session_id: bytes) -> bool:
    """Tell whether the request was signed for this connection, by its key, as it says it was.

    A key that is too weak or not one at all verifies nothing. asyncssh by itself would take
    SHA-1 and any algorithm that the signature names instead of the request.
    """
    if request.signature is None:
        return False
    try:
        named = SSHPacket(request.signature).get_string()
        if named != request.algorithm or named not in _SIGNATURES:
            return False
        key = decode_ssh_public_key(request.key)
        keys.check_strength(key)
        # Security keys must have been touched.
        key.set_touch_required(True)
        return key.verify(String(session_id) + request.signed, request.signature)
    except (asyncssh.KeyImportError, keys.KeyRefused, PacketDecodeError, ValueError):
        return False
    except ArithmeticError:
        # Numbers that no key has, e.g. a negative modulus.
        return False
