"""Event objects about pods, as `kubectl describe` shows them."""

import time
import uuid
from datetime import UTC, datetime

from kgpud.localcluster.registry import Document, Registry, now

_KEPT = 1000


def record(registry: Registry, pod: Document, kind: str, reason: str, message: str) -> None:
    """Store an Event (`Normal` or `Warning`), or count one more of the same."""
    metadata = pod["metadata"]
    namespace = metadata["namespace"]
    events = registry.all("events", namespace)
    for event in events:
        if event["involvedObject"]["uid"] == metadata["uid"] and (
            (event["reason"], event["message"]) == (reason, message)
        ):
            registry.replace("events", namespace, event["metadata"]["name"], _count)
            return
    if len(events) >= _KEPT:
        oldest = min(events, key=lambda event: int(event["metadata"]["resourceVersion"]))
        registry.delete("events", namespace, oldest["metadata"]["name"])
    registry.create("events", _event(pod, kind, reason, message))


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
