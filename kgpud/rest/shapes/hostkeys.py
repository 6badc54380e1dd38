"""The SSH host keys."""

from kgpud.rest.shapes.base import Answer

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJVvZ8mP9kbNYZCwPRVdJVtcC1cgQ8AA6bB4hVYOhUCa"


class SshHostKey(Answer):
    """A host key of the SSH bastion."""

    type: str
    public_key: str
    fingerprint: str
    known_hosts: str
    """The line to trust it by."""
    serving: bool
    """False: it is announced, and will take the other's place."""

    examples = (
        {
            "type": "ssh-ed25519",
            "public_key": _KEY,
            "fingerprint": "SHA256:abc123...",
            "known_hosts": f"[ssh.kgpu.net]:2222 {_KEY}",
            "serving": True,
        },
    )
