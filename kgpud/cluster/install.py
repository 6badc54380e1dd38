"""Everything that an operator applies to a cluster before the daemon may use it. Pure."""

from typing import Any

from kgpud.address import Address
from kgpud.cluster import manifests, policies
from kgpud.cluster.manifests import Installation
from kgpud.cluster.pods import CONTAINER, GPU_MODEL
from kgpud.cluster.rights import RIGHTS, Right
from kgpud.config import Config

Object = dict[str, Any]

#: Counts up when an operator has to apply the manifests again.
VERSION = 2
NAME = "kgpud"
_RBAC = "rbac.authorization.k8s.io"
_PREPULL = "kgpud-prepull"


def documents(config: Config) -> list[Object]:
    """Return the objects in the order in which they are to be applied."""
    namespace = config.cluster.namespace
    return [
        _namespace(namespace),
        _object("v1", "ServiceAccount", NAME, namespace),
        _token(namespace),
        *_role("Role", namespace, _rules(everywhere=False)),
        *_role("ClusterRole", namespace, _rules(everywhere=True)),
        _policy(config),
        _quota(config),
        _prepull(config),
    ]


def _object(version: str, kind: str, name: str, namespace: str = "", **rest: Any) -> Object:  # noqa: ANN401 - fields of any kind
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": NAME}
    metadata["annotations"] = {"kgpu.net/manifests-version": str(VERSION)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _namespace(name: str) -> Object:
    made = _object("v1", "Namespace", name)
    # Rented pods need no more, and nobody can slip a privileged one beside them.
    made["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "baseline"
    return made


def _token(namespace: str) -> Object:
    """Return the Secret that Kubernetes fills with a token, for a daemon outside the cluster."""
    kind = "kubernetes.io/service-account-token"
    made = _object("v1", "Secret", f"{NAME}-token", namespace, type=kind)
    made["metadata"]["annotations"]["kubernetes.io/service-account.name"] = NAME
    return made


def _rules(*, everywhere: bool) -> list[Object]:
    return [_rule(right) for right in RIGHTS if right.everywhere == everywhere]


def _rule(right: Right) -> Object:
    return {"apiGroups": [""], "resources": [right.resource], "verbs": list(right.verbs)}


def _role(kind: str, namespace: str, rules: list[Object]) -> list[Object]:
    """Return a role and the binding that gives it to the daemon.

    What concerns the whole cluster has the namespace in its name: installations may share one.
    """
    name = NAME if kind == "Role" else f"{NAME}-{namespace}"
    where = namespace if kind == "Role" else ""
    return [
        _object(f"{_RBAC}/v1", kind, name, where, rules=rules),
        _object(
            f"{_RBAC}/v1",
            f"{kind}Binding",
            name,
            where,
            roleRef={"apiGroup": _RBAC, "kind": kind, "name": name},
            subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        ),
    ]


def named_services(config: Config) -> list[Address]:
    """Return what pods use of ours by name: no policy lets them in, should they be private."""
    return [one for one in _services(config) if not policies.is_address(one.host)]


def _services(config: Config) -> list[Address]:
    urls = [config.public_url]
    if config.objects.store == "s3":
        urls.append(config.objects.s3.endpoint)
    return [found for url in urls if (found := policies.of_url(url))]


def _policy(config: Config) -> Object:
    spec = policies.spec(config.network, _services(config))
    version, namespace = "networking.k8s.io/v1", config.cluster.namespace
    return _object(version, "NetworkPolicy", "kgpud-rentals", namespace, spec=spec)


def _quota(config: Config) -> Object:
    """Return a bound on what a daemon gone wrong can do, and on what else can be made there."""
    none = ("services", "persistentvolumeclaims", "count/ingresses.networking.k8s.io")
    hard = {"pods": str(config.cluster.most_pods), **dict.fromkeys(none, "0")}
    return _object("v1", "ResourceQuota", NAME, config.cluster.namespace, spec={"hard": hard})


def _prepull(config: Config) -> Object:
    """Return the DaemonSet that brings the default image to every worker and keeps it there.

    The kubelet removes images that nothing runs when a disk fills up; this one runs.
    """
    labels = {"app.kubernetes.io/name": _PREPULL}
    template = {"metadata": {"labels": dict(labels)}, "spec": _prepull_spec(config)}
    spec = {
        "selector": {"matchLabels": labels},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
        "template": template,
    }
    return _object("apps/v1", "DaemonSet", _PREPULL, config.cluster.namespace, spec=spec)


def _prepull_spec(config: Config) -> Object:
    installation = Installation.of(config, "", "")
    room = {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "16Mi"}
    container: Object = {
        "name": CONTAINER,
        "image": config.images.default,
        "command": list(manifests.IDLE),
        # No GPU by the legacy runtime either.
        "env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}],
        "resources": {"limits": room, "requests": dict(room)},
        "securityContext": manifests.CONFINED,
    }
    if policy := manifests.pull_policy(config.images.default, config.images.local):
        container["imagePullPolicy"] = policy
    frame = {**manifests.frame(installation), "restartPolicy": "Always"}
    frame.pop("runtimeClassName", None)
    return {**frame, "affinity": _workers(config), "containers": [container]}


def _workers(config: Config) -> Object:
    """Return the affinity of whatever belongs on every node of a class on the menu."""
    terms = [[{"key": GPU_MODEL, "operator": "In", "values": sorted(config.gpu)}]]
    products = sorted(one for gpu_class in config.gpu.values() for one in gpu_class.products)
    if products:
        label = config.pods.product_label
        terms.append([{"key": label, "operator": "In", "values": products}])
    required = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
