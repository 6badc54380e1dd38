"""Files that only we may read, such as a kubeconfig with its token."""

import os
from pathlib import Path

from kgpud.localcluster.errors import StartError


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600, whole or not at all. StartError says why not."""
    half = path.with_name(path.name + ".new")
    try:
        half.unlink(missing_ok=True)
        fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as writing:
            writing.write(text)
        half.replace(path)
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from None
