"""OpenSSH public keys: read one, refuse the weak, name it by fingerprint, mint a pair."""

import base64
import hashlib
from dataclasses import dataclass, field

import asyncssh

MIN_RSA_BITS = 2048

# What OpenSSH 9 accepts by default, less DSA.
ACCEPTED_TYPES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)

_PLACE_TO_LOOK = "paste the one line of your .pub file, e.g. ~/.ssh/id_ed25519.pub"


class KeyRefused(ValueError):
    """A public key we do not take: a sentence for its owner that quotes nothing of it."""


@dataclass(frozen=True)
class PublicKey:
    """A public key as sshd would have it in authorized_keys.

    `line` is ``type base64 [comment]``; `fingerprint` is ``SHA256:`` and unpadded base64, as
    ``ssh-keygen -l`` prints it.
    """

    algorithm: str
    line: str
    fingerprint: str


@dataclass(frozen=True)
class Minted:
    """A fresh key pair. The private half is in OpenSSH's PEM form and is never kept by us."""

    private_key: str = field(repr=False)
    public: PublicKey


def parse(text: str) -> PublicKey:
    """Read one line of OpenSSH public key; a trailing newline is dropped.

    Raises KeyRefused for anything that isn't one such line, for private keys, certificates, DSA
    and RSA under 2048 bits.
    """
    line = text.rstrip("\r\n")
    if "PRIVATE KEY" in line:
        raise KeyRefused(
            "this is a private key: never share it; treat it as leaked and make a new one, "
            "then " + _PLACE_TO_LOOK
        )
    words = line.split()
    if not line.isprintable() or len(words) < 2:  # noqa: PLR2004 - a type and a blob
        raise KeyRefused("not one line of OpenSSH public key; " + _PLACE_TO_LOOK)
    _check_type(words[0])
    return _imported(" ".join(words))


def _check_type(name: str) -> None:
    if "-cert-" in name:
        raise KeyRefused("certificates are not taken; pin the plain public key")
    if name == "ssh-dss":
        raise KeyRefused("DSA keys are too weak; make an ed25519 key with ssh-keygen")
    if name not in ACCEPTED_TYPES:
        raise KeyRefused("not an OpenSSH public key of a known type; " + _PLACE_TO_LOOK)


def _imported(line: str) -> PublicKey:
    try:
        # Without the comment, which asyncssh takes in ASCII alone.
        key = asyncssh.import_public_key(" ".join(line.split(" ", 2)[:2]))
    except (asyncssh.KeyImportError, ValueError, ArithmeticError):
        raise KeyRefused("the key's base64 part is damaged; " + _PLACE_TO_LOOK) from None
    algorithm = key.get_algorithm()
    if algorithm != line.split(" ", 1)[0]:
        raise KeyRefused("the key's type and its base64 part disagree; " + _PLACE_TO_LOOK)
    check_strength(key)
    return PublicKey(algorithm, line, key.get_fingerprint())


def check_strength(key: asyncssh.SSHKey) -> None:
    """Raise KeyRefused for a key of a type or a length that is not taken."""
    algorithm = key.get_algorithm()
    _check_type(algorithm)
    if algorithm == "ssh-rsa" and _rsa_bits(key) < MIN_RSA_BITS:
        raise KeyRefused(f"RSA keys need at least {MIN_RSA_BITS} bits; an ed25519 key is best")


def _rsa_bits(key: asyncssh.SSHKey) -> int:
    return int(getattr(key.pyca_key, "key_size", 0))


def fingerprint(blob: bytes) -> str:
    """Name a key blob as ``ssh-keygen -l`` does."""
    digest = hashlib.sha256(blob).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def mint(comment: str) -> Minted:
    """Make a fresh ed25519 pair whose comment is the rental's id."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment)
    line = key.export_public_key("openssh").decode().strip()
    private = key.export_private_key("openssh").decode()
    return Minted(private_key=private, public=parse(line))
