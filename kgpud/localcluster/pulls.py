"""Getting a container's image, in the words of the kubelet and containerd."""

import asyncio
from collections.abc import Callable

from kgpud.localcluster import images
from kgpud.localcluster.pod_record import PodRecord
from kgpud.localcluster.registry import Document
from kgpud.localcluster.timings import Timings

Wait = Callable[[str, str], None]


async def pull(record: PodRecord, container: Document, timings: Timings, wait: Wait) -> None:
    """Return when the image is there; an unknown one never is.

    `wait(reason, message)` writes why the container does not run yet.
    """
    image, failures = container["image"], 0
    if words := images.fault(image):
        await _for_ever(record, "InspectFailed", "InvalidImageName", words, wait)
    if images.canonical(image) is None and container["imagePullPolicy"] == "Never":
        said = f'Container image "{image}" is not present with pull policy of Never'
        await _for_ever(record, "ErrImageNeverPull", "ErrImageNeverPull", said, wait)
    while images.canonical(image) is None:
        failures += 1
        await _fail(record, image, timings.back_off(failures), timings.status_lag, wait)
    said = f'Container image "{image}" already present on machine'
    record.event("Normal", "Pulled", said + " and can be accessed by the pod")


async def _fail(record: PodRecord, image: str, seconds: float, lag: float, wait: Wait) -> None:
    trouble = images.not_found(image)
    record.event("Normal", "Pulling", f'Pulling image "{image}"')
    record.event("Warning", "Failed", f'Failed to pull image "{image}": {trouble}')
    record.event("Warning", "Failed", "Error: ErrImagePull")
    wait("ErrImagePull", trouble)
    await asyncio.sleep(min(lag, seconds))
    said = f'Back-off pulling image "{image}"'
    record.event("Normal", "BackOff", said)
    record.event("Warning", "Failed", "Error: ImagePullBackOff")
    wait("ImagePullBackOff", f"{said}: ErrImagePull: {trouble}")
    await asyncio.sleep(max(0.0, seconds - lag))


async def _for_ever(record: PodRecord, event: str, reason: str, message: str, wait: Wait) -> None:
    record.event("Warning", event, message)
    record.event("Warning", "Failed", f"Error: {reason}")
    wait(reason, message)
    await asyncio.Event().wait()
