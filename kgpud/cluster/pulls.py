"""Whether an image is still being pulled, by the kubelet's events about the pod. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

# What the kubelet says next: that it has the image, or that something went wrong with it.
_OVER = frozenset({"Pulled", "Failed", "BackOff"})


def is_pulling(events: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether a pod's image is on its way: Pulling was said, and nothing after it."""
    reasons = {event.get("reason") for event in events}
    return "Pulling" in reasons and not reasons & _OVER
