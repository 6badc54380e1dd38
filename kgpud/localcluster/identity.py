"""What a cluster is known by again after a restart, as a real one by its namespaces' uids."""

import uuid
from pathlib import Path

from kgpud.localcluster.errors import StartError
from kgpud.localcluster.private_file import write_private

_FILE = "cluster.id"


def of_folder(state: Path) -> uuid.UUID:
    """Return the identity of the cluster in a folder, made at its first start. StartError."""
    path = state / _FILE
    try:
        return uuid.UUID(path.read_text().strip())
    except (FileNotFoundError, ValueError):
        made = uuid.uuid4()
        write_private(path, f"{made}\n")
        return made
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from None
