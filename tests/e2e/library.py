"""paramiko, connected to a pod."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from .dev import Pod


@contextmanager
def connected(pod: Pod) -> Iterator[paramiko.SSHClient]:
    host, port = pod.dev.env["KGPU_SSH_HOST"], int(pod.port)
    client = paramiko.SSHClient()
    client.load_host_keys(pod.dev.env["KGPU_KNOWN_HOSTS"])
    with socket.create_connection((host, port)) as sock, client:
        client.connect(
            host,
            port,
            "kgpu",
            pkey=paramiko.Ed25519Key.from_private_key_file(str(pod.key)),
            allow_agent=False,
            look_for_keys=False,
            sock=sock,
            timeout=20,
        )
        yield client
