"""Event objects about pods, as `kubectl describe` shows them."""

import asyncio
import contextlib
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from kgpud.localcluster.registry import Document, Registry, now

_KEPT = 1000
# As an API server keeps them, by its --event-ttl.
_KEPT_SECONDS = 3600.0
_LOOK_SECONDS = 60.0


class Recorder:
    """Stores Events and counts what happens again; they go after an hour without news.

    When there are too many, those go first that had no news for longest.
    """

    def __init__(self, registry: Registry, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._monotonic = monotonic
        self._known: OrderedDict[tuple[str, str, str], _Known] = OrderedDict()

    def record(
        self, pod: Document, kind: str, reason: str, message: str, field_path: str | None = None
    ) -> None:
        """Store an Event (`Normal` or `Warning`), or count one more of the same.

        `field_path` says which part of the pod it is about, e.g. `spec.containers{main}`.
        """
        key = (pod["metadata"]["uid"], reason, message)
        known = self._known.pop(key, None)
        with contextlib.suppress(KeyError):  # deleted by a client
            if known is not None:
                self._registry.replace("events", known.namespace, known.name, _count)
                self._known[key] = known._replace(moment=self._monotonic())
                return
        event = _event(pod, kind, reason, message)
        if field_path is not None:
            event["involvedObject"]["fieldPath"] = field_path
        metadata = self._registry.create("events", event)["metadata"]
        self._known[key] = _Known(metadata["namespace"], metadata["name"], self._monotonic())
        self.expire()

    def expire(self) -> None:
        """Delete the events that are too old or too many."""
        while self._known:
            oldest = next(iter(self._known.values()))
            old = self._monotonic() - oldest.moment >= _KEPT_SECONDS
            if not old and len(self._known) <= _KEPT:
                return
            self._known.popitem(last=False)
            with contextlib.suppress(KeyError):
                self._registry.delete("events", oldest.namespace, oldest.name)

    async def expire_in_time(self) -> None:
        """Delete old events, also while nothing happens. Never returns."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.expire()


class _Known(NamedTuple):
    """A stored event: where it is, and when it last had news."""

    namespace: str
    name: str
    moment: float


def _count(event: Document) -> None:
    if event["count"] is not None:
        event["count"] += 1
        event["lastTimestamp"] = now()


def _event(pod: Document, kind: str, reason: str, message: str) -> Document:
    metadata = pod["metadata"]
    name = f"{metadata['name'][:200]}.{time.time_ns():x}{uuid.uuid4().hex[:4]}"
    scheduling = {"Scheduled": "Binding", "FailedScheduling": "Scheduling"}.get(reason)
    told = _by_scheduler(scheduling) if scheduling else _by_kubelet(pod["spec"].get("nodeName", ""))
    return {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "involvedObject": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "apiVersion": "v1",
            "resourceVersion": metadata["resourceVersion"],
        },
        "reason": reason,
        "message": message,
        "type": kind,
        **told,
    }


def _by_scheduler(action: str) -> Document:
    return {
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "count": None,
        "eventTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "action": action,
        "reportingComponent": "default-scheduler",
        "reportingInstance": "default-scheduler",
    }


def _by_kubelet(node: str) -> Document:
    moment = now()
    return {
        "source": {"component": "kubelet", "host": node},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
        "eventTime": None,
        "reportingComponent": "kubelet",
        "reportingInstance": node,
    }
