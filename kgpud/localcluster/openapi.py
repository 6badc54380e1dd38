"""The part of /openapi/v3 that kubectl reads before it leaves field validation to the server.

Each kind's patch says that it takes `fieldValidation` and `dryRun`; of schemas there are none.
"""

from kgpud.localcluster.kinds import KINDS
from kgpud.localcluster.registry import Document

_INFO = {"title": "Kubernetes", "version": "v1.36.2"}
_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]


def _path(group: str) -> str:
    return f"apis/{group}/v1" if group else "api/v1"


PATHS = tuple(sorted({_path(kind.group) for kind in KINDS}))


def index() -> Document:
    """Answer /openapi/v3: where each group version's document is."""
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in PATHS}}


def paths(path: str) -> Document:
    """Answer one group version's document."""
    described = {}
    for kind in KINDS:
        if _path(kind.group) != path:
            continue
        within = "namespaces/{namespace}/" if kind.namespaced else ""
        described[f"/{path}/{within}{kind.plural}/{{name}}"] = {
            "patch": {
                "operationId": f"patch{kind.name}",
                "parameters": _PARAMETERS,
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": {
                    "group": kind.group,
                    "version": "v1",
                    "kind": kind.name,
                },
            }
        }
    return {"openapi": "3.0.0", "info": _INFO, "paths": described}
