"""Event objects about pods, as `kubectl describe` shows them."""

import contextlib
import time
import uuid
from collections import OrderedDict
from datetime import UTC, datetime

from kgpud.localcluster.registry import Document, Registry, now

_KEPT = 1000


class Recorder:
    """Stores Events and counts what happens again; the oldest go when there are too many."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: OrderedDict[tuple[str, str, str], tuple[str, str]] = OrderedDict()

    def record(self, pod: Document, kind: str, reason: str, message: str) -> None:
        """Store an Event (`Normal` or `Warning`), or count one more of the same."""
        key = (pod["metadata"]["uid"], reason, message)
        with contextlib.suppress(KeyError):  # not recorded yet, or deleted by a client
            self._registry.replace("events", *self._known[key], _count)
            return
        event = self._registry.create("events", _event(pod, kind, reason, message))
        self._known[key] = (event["metadata"]["namespace"], event["metadata"]["name"])
        self._known.move_to_end(key)
        if len(self._known) > _KEPT:
            _key, oldest = self._known.popitem(last=False)
            with contextlib.suppress(KeyError):
                self._registry.delete("events", *oldest)


def _count(event: Document) -> None:
    if event["count"] is not None:
        event["count"] += 1
        event["lastTimestamp"] = now()


def _event(pod: Document, kind: str, reason: str, message: str) -> Document:
    metadata = pod["metadata"]
    scheduling = {"Scheduled": "Binding", "FailedScheduling": "Scheduling"}.get(reason)
    node = pod["spec"].get("nodeName", "")
    common = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {
            "name": f"{metadata['name'][:200]}.{time.time_ns():x}{uuid.uuid4().hex[:4]}",
            "namespace": metadata["namespace"],
        },
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
    }
    if scheduling:
        return {
            **common,
            "source": {},
            "firstTimestamp": None,
            "lastTimestamp": None,
            "count": None,
            "eventTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "action": scheduling,
            "reportingComponent": "default-scheduler",
            "reportingInstance": "default-scheduler",
        }
    moment = now()
    return {
        **common,
        "source": {"component": "kubelet", "host": node},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
        "eventTime": None,
        "reportingComponent": "kubelet",
        "reportingInstance": node,
    }
