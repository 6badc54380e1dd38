"""The kinds of object this API server stores, and what may be done with each: one table."""

from dataclasses import dataclass

_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Subresource:
    """A path below an object, such as `pods/exec`, the kind it speaks of and its verbs."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True)
class Kind:
    """One kind of object. `internal` is the Go package of its internal form, for messages."""

    plural: str
    name: str
    group: str = ""
    internal: str = "core"
    namespaced: bool = True
    verbs: tuple[str, ...] = _WRITE
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    storage_hash: str | None = None
    subresources: tuple[Subresource, ...] = ()
    fields: tuple[str, ...] = ()
    counts_generations: bool = False

    @property
    def api_version(self) -> str:
        """What stands in an object's apiVersion, e.g. `v1` or `networking.k8s.io/v1`."""
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def singular(self) -> str:
        """The kind in lower case, e.g. `networkpolicy`."""
        return self.name.lower()

    @property
    def full_name(self) -> str:
        """The kind with its group, e.g. `NetworkPolicy.networking.k8s.io`."""
        return f"{self.name}.{self.group}" if self.group else self.name


PODS = Kind(
    "pods",
    "Pod",
    short=("po",),
    categories=("all",),
    storage_hash="xPOwRZ+Yhw8=",
    subresources=(
        Subresource("exec", "PodExecOptions", ("create", "get")),
        Subresource("log", "Pod", ("get",)),
    ),
    fields=(
        "spec.hostNetwork",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.nominatedNodeName",
        "status.phase",
        "status.podIP",
    ),
    counts_generations=True,
)
_INVOLVED = ("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid")
EVENTS = Kind(
    "events",
    "Event",
    short=("ev",),
    storage_hash="r2yiGXH7wu8=",
    fields=(
        *(f"involvedObject.{name}" for name in _INVOLVED),
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
)
NAMESPACES = Kind(
    "namespaces",
    "Namespace",
    namespaced=False,
    verbs=tuple(verb for verb in _WRITE if verb != "deletecollection"),
    short=("ns",),
    storage_hash="Q3oi5N2YM8M=",
    fields=("status.phase",),
)
# The fleet is given at the start: nodes are cordoned and labelled here, not made.
NODES = Kind(
    "nodes",
    "Node",
    namespaced=False,
    verbs=(*_READ, "patch", "update"),
    short=("no",),
    storage_hash="XwShjMxG9Fs=",
    fields=("spec.unschedulable",),
)
SECRETS = Kind("secrets", "Secret", storage_hash="S6u1pOWzb84=", fields=("type",))
SERVICE_ACCOUNTS = Kind(
    "serviceaccounts",
    "ServiceAccount",
    short=("sa",),
    storage_hash="pbx9ZvyFpBE=",
    subresources=(
        Subresource("token", "TokenRequest", ("create",), group="authentication.k8s.io"),
    ),
)
KINDS = (
    Kind("configmaps", "ConfigMap", short=("cm",), storage_hash="qFsyl6wFWjQ="),
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Kind(
        "networkpolicies",
        "NetworkPolicy",
        group="networking.k8s.io",
        internal="networking",
        short=("netpol",),
        storage_hash="YpfwF18m1G8=",
        counts_generations=True,
    ),
    Kind("clusterrolebindings", "ClusterRoleBinding", RBAC, "rbac", namespaced=False),
    Kind("clusterroles", "ClusterRole", RBAC, "rbac", namespaced=False),
    Kind("rolebindings", "RoleBinding", RBAC, "rbac"),
    Kind("roles", "Role", RBAC, "rbac"),
)


@dataclass(frozen=True)
class Review:
    """A question that is answered and not stored, such as a SelfSubjectAccessReview."""

    plural: str
    name: str
    group: str


REVIEWS = (
    Review("selfsubjectreviews", "SelfSubjectReview", "authentication.k8s.io"),
    Review("selfsubjectaccessreviews", "SelfSubjectAccessReview", "authorization.k8s.io"),
    Review("selfsubjectrulesreviews", "SelfSubjectRulesReview", "authorization.k8s.io"),
)
