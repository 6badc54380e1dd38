"""The stored object of one pod, as those who run it see it."""

import contextlib
import copy
from collections.abc import Callable

from kgpud.localcluster.pod_events import Recorder
from kgpud.localcluster.registry import Document, Registry


class PodRecord:
    """One pod's object by uid: a later pod of the same name is another one, and not touched.

    `last` is the version that it had last, be the object still there or not.
    """

    def __init__(self, registry: Registry, recorder: Recorder, pod: Document) -> None:
        self.registry = registry
        self.namespace: str = pod["metadata"]["namespace"]
        self.name: str = pod["metadata"]["name"]
        self.uid: str = pod["metadata"]["uid"]
        self._recorder = recorder
        self.last = pod
        self.field_path: str | None = None

    def of_container(self, name: str) -> "PodRecord":
        """Return a record of the same pod whose events are about one of its containers."""
        record = copy.copy(self)
        record.field_path = f"spec.containers{{{name}}}"
        return record

    @property
    def full_name(self) -> str:
        """How the kubelet names a pod in its messages: `name_namespace(uid)`."""
        return f"{self.name}_{self.namespace}({self.uid})"

    def current(self) -> Document | None:
        """Return the stored object; None once it is gone."""
        pod = self.registry.get("pods", self.namespace, self.name)
        return pod if pod is not None and pod["metadata"]["uid"] == self.uid else None

    def edit(self, change: Callable[[Document], None]) -> None:
        """Change the stored pod; nothing when it is gone."""
        if self.current() is not None:
            self.last = self.registry.replace("pods", self.namespace, self.name, change)

    def event(self, kind: str, reason: str, message: str) -> None:
        """Record an Event about the pod, be its object still there or not."""
        pod = self.current() or self.last
        self._recorder.record(pod, kind, reason, message, self.field_path)

    def delete(self) -> None:
        """Take the object away."""
        if self.current() is not None:
            with contextlib.suppress(KeyError):
                self.registry.delete("pods", self.namespace, self.name)
