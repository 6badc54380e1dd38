"""From a pod back to its rental, where the store has lost it. The reverse of `manifests.pod`."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kgpud.cluster import manifests
from kgpud.cluster.pods import CONTAINER, GPU_MODEL, STARTING
from store.records import Rental

_GIB = {"Gi": 1, "Ti": 1024}
# Beyond anything that we write; a bill must fit SQLite's integers.
_MOST_GPUS, _MOST_CREDITS, _MOST_KEYS, _LAST_MOMENT = 1000, 10**12, 10**9, 10**15


def read(pod: Mapping[str, Any], now: int) -> Rental:
    """Return the rental that this pod of ours was made for, as if nothing was charged yet.

    `fingerprint` is its key's, None if the pod doesn't say. Raises ValueError where what it takes
    is missing or can't be.
    """
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    notes = metadata.get("annotations") or {}
    if labels.get(manifests.RENTAL) != metadata["name"]:
        raise ValueError(f"its label {manifests.RENTAL} names another pod")
    container = _container(pod)
    limits = (container.get("resources") or {}).get("limits") or {}
    return Rental(
        pod_id=metadata["name"],
        account_id=_text(labels, manifests.ACCOUNT),
        name=_text(notes, manifests.NAME),
        image=_text(container, "image"),
        gpu_model=_text(labels, GPU_MODEL),
        gpu_count=_number(notes, manifests.GPU_COUNT, _MOST_GPUS),
        cpu=_text(limits, "cpu"),
        memory=_text(limits, "memory"),
        ephemeral_storage_gib=_gib(_text(limits, "ephemeral-storage")),
        price_per_hour=_number(notes, manifests.PRICE, _MOST_CREDITS),
        created_at=min(_number(notes, manifests.CREATED, _LAST_MOMENT), now),
        # Nobody knows when it was used last.
        last_activity_at=now,
        pending_reason=STARTING,
        fingerprint=_fingerprint(notes),
        key_generation=_number(notes, manifests.GENERATION, _MOST_KEYS),
    )


def newer_key(pod: Mapping[str, Any], rental: Rental) -> Rental | None:
    """Return the rental with the key that its pod tells of, if its row's is an older one."""
    notes = pod["metadata"].get("annotations") or {}
    try:
        generation = _number(notes, manifests.GENERATION, _MOST_KEYS)
    except ValueError:
        return None
    if generation <= rental.key_generation:
        return None
    return replace(rental, fingerprint=_fingerprint(notes), key_generation=generation)


def _fingerprint(notes: Mapping[str, Any]) -> str | None:
    text = str(notes.get(manifests.FINGERPRINT, ""))
    return text if text.startswith("SHA256:") else None


def _container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    for one in (pod.get("spec") or {}).get("containers") or ():
        if one.get("name") == CONTAINER:
            found: Mapping[str, Any] = one
            return found
    raise ValueError(f"it has no container {CONTAINER}")


def _text(found: Mapping[str, Any], name: str) -> str:
    text = found.get(name)
    if not isinstance(text, str) or not text:
        raise ValueError(f"it has no {name}")
    return text


def _number(found: Mapping[str, Any], name: str, at_most: int) -> int:
    text = _text(found, name)
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) > at_most:
        raise ValueError(f"its {name} is no number of ours")
    return int(text)


def _gib(quantity: str) -> int:
    """Read what we wrote as ``1024Gi`` and an API server may have made ``1Ti``."""
    found = re.fullmatch(r"([0-9]{1,9})(Gi|Ti)", quantity)
    if not found:
        raise ValueError("its ephemeral-storage is none of ours")
    return int(found[1]) * _GIB[found[2]]
