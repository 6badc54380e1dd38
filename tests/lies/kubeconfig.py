"""A kubeconfig for a server of a test's own."""

import json
from pathlib import Path


def write_kubeconfig(folder: Path, port: int) -> Path:
    """Write a kubeconfig for 127.0.0.1 with some token; return where."""
    path = folder / "kubeconfig"
    document = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(document))
    return path
