"""The recordings of a real Kubernetes, by name: ``exec-1.36-default/exit3.v5``, ``api/pod_get``."""

import json
from pathlib import Path
from typing import Any

KUBE = Path(__file__).parent / "kube"


def names() -> list[str]:
    """Return every recording's name: its path below `KUBE` without the ending."""
    found = [*KUBE.glob("*/*.jsonl"), *KUBE.glob("*/*.json")]
    return sorted(str(path.relative_to(KUBE)).removesuffix(path.suffix) for path in found)


def rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of a session or of a pod's life, in order."""
    return [json.loads(line) for line in (KUBE / f"{name}.jsonl").read_text().splitlines()]


def exchange(name: str) -> dict[str, Any]:
    """Return one recorded ``{"request": …, "response": …}``."""
    found: dict[str, Any] = json.loads((KUBE / f"{name}.json").read_text())
    return found
