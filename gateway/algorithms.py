"""What the bastion negotiates, and nothing else: no SHA-1, no CBC, no NIST-only key exchange.

In SSH the *client's* order decides (RFC 4253, 7.1). OpenSSH's begins with chacha20, which costs us
three times what GCM does, so clients that surely have GCM are offered nothing slower.
"""

import re
from collections.abc import Sequence

#: The key exchanges; asyncssh adds strict key exchange (against Terrapin) to each.
KEX = ("mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org")

FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")

CIPHERS = (*FAST_CIPHERS, "chacha20-poly1305@openssh.com", "aes256-ctr", "aes128-ctr")

#: Only aes-ctr needs them (libssh2, JSch, older paramiko): encrypt-then-MAC alone.
MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")

#: What a user's key may sign with. ``ssh-rsa`` means SHA-1, and is not here (RFC 8332).
SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

#: What an auditor may remark on, and the client that forces us to offer it all the same.
ACCEPTED_WEAKNESSES = {
    "curve25519-sha256": "OpenSSH up to 9.8, PuTTY 0.78, dropbear: none has mlkem768x25519",
    "curve25519-sha256@libssh.org": "libssh and dropbear older than the name without a domain",
    "chacha20-poly1305@openssh.com": "dropbear: as Debian has it, its MACs are no ETM, and no GCM",
}

# GCM came with OpenSSH 6.2 and PuTTY 0.78. Other clients get the whole list and choose.
_HAS_GCM = re.compile(
    rb"SSH-2\.0-(?:"
    rb"OpenSSH_(?:for_Windows_)?(?:6\.[2-9]|[7-9]\.|[1-9][0-9]+\.)"
    rb"|PuTTY_Release_0\.(?:7[89]|[89][0-9]|[1-9][0-9]{2}))"
)


def ciphers_for(client_version: bytes) -> Sequence[str]:
    """Return what to offer a client by its version line, e.g. ``SSH-2.0-OpenSSH_9.2p1``."""
    return FAST_CIPHERS if _HAS_GCM.match(client_version) else CIPHERS
