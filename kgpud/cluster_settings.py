"""What an operator can set of the cluster and of the pods in it."""

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, Strict

from kgpud.address import Address, Listen
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


def _ip(value: str) -> str:
    try:
        found = ip_address(value)
    except ValueError:
        raise ValueError("must be an IP address") from None
    if "%" in value:
        raise ValueError("must be an IP address that means the same on every node, without a zone")
    return str(found)


def _by_ip(value: Address) -> Address:
    try:
        ip_address(value.host)
    except ValueError:
        raise ValueError("must be IP:PORT: a network policy knows no names") from None
    return value


def _network(value: str) -> str:
    try:
        network = ip_network(value)
    except ValueError:
        raise ValueError("must be a network such as 192.0.2.0/24 or 2001:db8::/32") from None
    if network.prefixlen == 0:
        raise ValueError("would leave pods no network at all")
    return str(network)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ValueError("must be https://HOST:PORT")
    return value.rstrip("/")


def _proxy(value: str) -> str:
    if value and not re.fullmatch(
        r"http://(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+)(:[0-9]{1,5})?", value
    ):
        raise ValueError("must be http://HOST:PORT")
    return value


@dataclass(frozen=True)
class Kubernetes:
    """Which cluster the pods run in."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: A kubeconfig's path; None ("" in a file) for those of the pod that the daemon runs in.
    kubeconfig: OptionalPath = None
    #: More addresses of the same API servers, tried where the kubeconfig's can't be reached.
    servers: tuple[Annotated[str, AfterValidator(_url)], ...] = ()
    #: An HTTP proxy on the way there, as http://HOST:PORT; "" for none. The environment's is not
    #: used, and a kubeconfig that names one is refused unless it is said here.
    proxy: Annotated[str, AfterValidator(_proxy)] = ""
    #: The namespace that rented pods live in. It must exist.
    namespace: Annotated[str, AfterValidator(_namespace)] = "kgpu"
    #: How many pods the namespace may hold: `kgpud manifests` writes it as a ResourceQuota.
    most_pods: Annotated[int, Strict(), Field(ge=1, le=150_000)] = 200


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


@dataclass(frozen=True)
class Network:
    """What rented pods may talk to, beyond the public internet: `kgpud manifests` writes it."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: Addresses that answer DNS besides the cluster's own DNS pods; this is NodeLocal DNS.
    dns: tuple[Annotated[str, AfterValidator(_ip)], ...] = ("169.254.20.10",)
    #: Services in private ranges that pods need, as IP:PORT: the API base, an object store.
    allow: tuple[Annotated[Listen, AfterValidator(_by_ip)], ...] = ()
    #: Networks that pods must not reach although they are public: ours, by public addresses.
    deny: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
