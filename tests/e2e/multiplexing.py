"""One connection that several clients share: OpenSSH's ControlMaster."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .dev import Pod, eventually


@contextmanager
def master(pod: Pod) -> Iterator[str]:
    """Hold one connection; what is yielded is the option with which a client joins it."""
    # Short: a socket's path has 107 bytes.
    path = Path(f"/tmp/kgpud-cm-{os.getpid()}")
    process = subprocess.Popen(pod.argv("-M", "-N", f"-S{path}"), stdin=subprocess.DEVNULL)
    try:
        eventually(path.exists)
        yield f"-S{path}"
    finally:
        # Not SIGTERM: this ssh may sleep over it until its next packet.
        process.kill()
        process.wait(10)
        path.unlink(missing_ok=True)
