"""Which images there are, and what is wrong with a reference to another one."""

import re

HOST, BARE = "kgpu-pytorch:latest", "bare:latest"
IMAGES = (HOST, BARE)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[\w][\w.-]{0,127})?(?:@[a-zA-Z0-9:+._-]+)?"
)


def canonical(image: str) -> str | None:
    """Return which of the two images `image` names, or None for an unknown one."""
    name = image.removeprefix("docker.io/").removeprefix("library/")
    if ":" not in name:
        name += ":latest"
    return name if name in IMAGES else None


def fault(image: str) -> str | None:
    """Return the kubelet's words for a reference that is none, or None when it is well formed."""
    if _REFERENCE.fullmatch(image):
        return None
    why = "invalid reference format"
    if image != image.lower():
        why += f": repository name (library/{image}) must be lowercase"
    return (
        f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {why}'
    )


def not_found(image: str) -> str:
    """Return containerd's words for an image that can't be had, and ours for why."""
    return (
        f'failed to pull and unpack image "{image}": failed to resolve image: '
        f"this local cluster has only {' and '.join(IMAGES)}"
    )
