"""What an operator can set of the cluster and of the pods in it."""

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, Strict

from kgpud.paths import OptionalPath

_CLOSED = ConfigDict(extra="forbid")
_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_LABEL = rf"([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME}"
_TAINT = rf"({_LABEL})(=({_NAME})?)?:(NoSchedule|PreferNoSchedule|NoExecute)"


def _namespace(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value):
        raise ValueError("must be the name of a namespace: lower case letters, digits and '-'")
    return value


def _label(value: str) -> str:
    if not re.fullmatch(_LABEL, value):
        raise ValueError("must be a label's name such as nvidia.com/gpu.product")
    return value


def _object_name(value: str) -> str:
    if value and not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", value):
        raise ValueError("must be an object's name: lower case letters, digits, '-' and '.'")
    return value


def _taint(value: str) -> str:
    if not re.fullmatch(_TAINT, value):
        raise ValueError("must be a taint as kubectl writes it: key=value:NoSchedule")
    return value


@dataclass(frozen=True)
class Kubernetes:
    """Which cluster the pods run in."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: A kubeconfig's path; None ("" in a file) for those of the pod that the daemon runs in.
    kubeconfig: OptionalPath = None
    #: The namespace that rented pods live in. It must exist.
    namespace: Annotated[str, AfterValidator(_namespace)] = "kgpu"


@dataclass(frozen=True)
class Pods:
    """How and where rented pods run."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: The node label that tells a GPU's product, for nodes without ``kgpu.net/gpu-model``.
    product_label: Annotated[str, AfterValidator(_label)] = "nvidia.com/gpu.product"
    #: The RuntimeClass of every rented pod; "" is the node's default runtime.
    runtime_class: Annotated[str, AfterValidator(_object_name)] = ""
    #: False maps root in a pod to nobody on its node (user namespaces, Kubernetes 1.33 on).
    host_users: Annotated[bool, Strict()] = True
    #: Taints that rented pods tolerate besides nvidia.com/gpu, as ``key=value:Effect``.
    tolerations: tuple[Annotated[str, AfterValidator(_taint)], ...] = ()
    #: How long a node may be away before its pods are given up. People's work is on them.
    unreachable_seconds: Annotated[int, Strict(), Field(ge=0, le=7 * 86400)] = 3600
