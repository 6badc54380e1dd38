"""The SSH host keys, for whoever wants to know a server before the first connection."""

from kgpud.rest.call import Call
from kgpud.rest.shapes.hostkeys import SshHostKey


async def list_ssh_host_keys(call: Call) -> list[SshHostKey]:
    """List the key that serves first, then the one that is announced as its successor."""
    services = call.services
    return [
        SshHostKey(
            type=key.key_type,
            public_key=key.line,
            fingerprint=key.fingerprint,
            known_hosts=key.known_hosts(services.ssh_host, services.ssh_port),
            serving=number == 0,
        )
        for number, key in enumerate(services.host_keys.current())
    ]
