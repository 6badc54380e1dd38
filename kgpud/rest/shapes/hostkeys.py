"""The SSH host keys."""

from kgpud.rest.shapes.base import Answer


class SshHostKey(Answer):
    """A host key of the bastion. `known_hosts` is the line to trust it by.

    One that isn't `serving` yet is announced: it will take the other's place.
    """

    type: str
    public_key: str
    fingerprint: str
    known_hosts: str
    serving: bool
