"""Storing, changing and deleting objects, with what follows from it for other objects."""

import base64
import copy
import secrets
import uuid

from kgpud.localcluster import auth, owners, rbac
from kgpud.localcluster.cluster import Cluster, mark_deleted
from kgpud.localcluster.errors import already_exists, conflict, forbidden, not_found
from kgpud.localcluster.kinds import KINDS, PODS, Kind
from kgpud.localcluster.registry import Document, Registry, identified, now

_FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system", "kgpu")
_TOKEN = "kubernetes.io/service-account-token"  # noqa: S105 - a type, not a secret
_IMMORTAL = ("default", "kube-public", "kube-system")


class Storage:
    """What the API server does with objects; the pods among them are the cluster's."""

    def __init__(self, cluster: Cluster, tokens: auth.Tokens) -> None:
        self._cluster = cluster
        self._tokens = tokens
        self.registry: Registry = cluster.registry

    def begin(self, identity: uuid.UUID) -> None:
        """Store the namespaces and roles that every cluster begins with.

        The namespaces keep their uids over restarts: by them a cluster is known again.
        """
        for name in _FIRST_NAMESPACES:
            metadata: Document = {"name": name, "labels": {"kubernetes.io/metadata.name": name}}
            namespace = {"kind": "Namespace", "apiVersion": "v1", "metadata": metadata}
            rest = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
            stored = self._create_namespace({**namespace, **rest})
            stored["metadata"]["uid"] = str(uuid.uuid5(identity, name))
        rbac.store_first_roles(self.registry)

    def require_namespace(self, kind: Kind, metadata: Document) -> None:
        """Raise ApiError 404 or 403 unless an object can be created in its namespace."""
        namespace = metadata["namespace"]
        found = self.registry.get("namespaces", "", namespace)
        if found is None:
            raise not_found("namespaces", namespace)
        if "deletionTimestamp" in found["metadata"]:
            words = f"unable to create new content in namespace {namespace} because it is being"
            name = metadata.get("name", "")
            raise forbidden(kind.group, kind.plural, name, f"{words} terminated")

    def create(self, kind: Kind, document: Document, *, dry_run: bool) -> Document:
        """Store a checked object. ApiError 409 when its name is taken."""
        metadata = document["metadata"]
        if self.registry.get(kind.plural, metadata.get("namespace", ""), metadata["name"]):
            raise already_exists(kind.plural, metadata["name"], kind.group)
        if kind.plural == "pods":
            _require_runtime(document)
        if dry_run:
            return identified(document)
        if kind.plural == "pods":
            return self._cluster.create_pod(document)
        if kind.plural == "namespaces":
            return self._create_namespace(document)
        if document.get("type") == _TOKEN:
            document = self._with_token(document)
        stored = self.registry.create(kind.plural, document)
        self._collect_orphan(stored)
        return stored

    def _collect_orphan(self, document: Document) -> None:
        """Delete an object whose owner had gone before the object said that it was its owner."""
        for reference in document["metadata"].get("ownerReferences") or []:
            owners.collect(self.registry, reference["uid"])

    def _with_token(self, secret: Document) -> Document:
        """Return a service account's token Secret as the token controller fills it, for good."""
        metadata = secret["metadata"]
        name = (metadata.get("annotations") or {}).get("kubernetes.io/service-account.name", "")
        account = self.registry.get("serviceaccounts", metadata["namespace"], name)
        if account is None:
            return secret
        user = auth.service_account(metadata["namespace"], name, account["metadata"]["uid"])
        made = {"namespace": metadata["namespace"], "token": secrets.token_urlsafe(32)}
        self._tokens.add(made["token"], user)
        data = {key: base64.b64encode(text.encode()).decode() for key, text in made.items()}
        return {**secret, "data": {**(secret.get("data") or {}), **data}}

    def _create_namespace(self, document: Document) -> Document:
        stored = self.registry.create("namespaces", document)
        metadata = {"name": "default", "namespace": stored["metadata"]["name"]}
        account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata}
        self.registry.create("serviceaccounts", account)
        return stored

    def change(self, kind: Kind, document: Document) -> Document:
        """Store a checked object's next version; one that only waited for a finalizer goes."""
        metadata = document["metadata"]
        key = (kind.plural, metadata.get("namespace", ""), metadata["name"])

        def edit(stored: Document) -> None:
            stored.clear()
            stored.update(copy.deepcopy(document))

        changed = self.registry.replace(*key, edit)
        held = metadata.get("finalizers") or kind.plural in ("pods", "namespaces")
        if "deletionTimestamp" in metadata and not held:
            return self.registry.delete(*key)
        if kind.plural == "nodes":
            self._cluster.schedule()
        self._collect_orphan(changed)
        return changed

    def delete(
        self, kind: Kind, document: Document, grace: int | None, *, dry_run: bool
    ) -> Document:
        """Delete an object, or begin its end; return it as it is then."""
        metadata = document["metadata"]
        if kind.plural == "pods":
            return self._cluster.delete_pod(document, grace, dry_run=dry_run)
        if kind.plural == "namespaces":
            return self._end_namespace(document, dry_run=dry_run)
        if dry_run:
            return document
        key = (kind.plural, metadata.get("namespace", ""), metadata["name"])
        if metadata.get("finalizers"):
            return self.registry.replace(*key, lambda one: mark_deleted(one, 0))
        return self.registry.delete(*key)

    def _end_namespace(self, document: Document, *, dry_run: bool) -> Document:
        name = document["metadata"]["name"]
        if name in _IMMORTAL:
            raise forbidden("", "namespaces", name, "this namespace may not be deleted")
        if "deletionTimestamp" in document["metadata"]:
            words = "The system is ensuring all content is removed from this namespace."
            raise conflict(
                "namespaces", name, words=f"{words}  Upon completion, it will be purged."
            )
        if dry_run:
            return document

        def edit(namespace: Document) -> None:
            namespace["metadata"]["deletionTimestamp"] = now()
            namespace["status"] = {"phase": "Terminating"}

        ending = self.registry.replace("namespaces", "", name, edit)
        self._cluster.run(self._empty(name), f"namespace {name}")
        return ending

    async def _empty(self, namespace: str) -> None:
        """Delete all that a namespace has, its pods in their grace periods, and then itself."""
        for pod in self.registry.all("pods", namespace):
            self.delete(PODS, pod, None, dry_run=False)
        while self.registry.all("pods", namespace):
            await self.registry.wait_for("pods")
        for kind in KINDS:
            for one in self.registry.all(kind.plural, namespace) if kind.namespaced else ():
                self.registry.delete(kind.plural, namespace, one["metadata"]["name"])
        self.registry.delete("namespaces", "", namespace)


def _require_runtime(pod: Document) -> None:
    """Raise the ApiError 403 of a pod whose RuntimeClass there isn't: here there are none."""
    if name := pod["spec"].get("runtimeClassName"):
        words = f'pod rejected: RuntimeClass "{name}" not found'
        raise forbidden("", "pods", pod["metadata"]["name"], words)
