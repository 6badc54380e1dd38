"""When a pod has written more than it may, in the kubelet's words and in its order."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kgpud.localcluster import disk, quantity

_SHARE = 0.05
_UNBOUNDED = 1 << 62

Measure = Callable[[Path, int], int]


def excess(
    spec: Mapping[str, Any], volumes: Path, layers: Mapping[str, Path], measure: Measure
) -> str | None:
    """Return why a pod is to be evicted, or None.

    `volumes` holds a folder for each emptyDir by name, `layers` are what each container has
    written elsewhere. `measure(folder, enough)` is `disk.usage`.
    """
    used: dict[str, int] = {}
    for volume in spec.get("volumes") or []:
        empty = volume.get("emptyDir")
        if empty is None or empty.get("medium") == "Memory":
            continue
        limit = empty.get("sizeLimit")
        enough = _UNBOUNDED if limit is None else quantity.whole(limit)
        used[volume["name"]] = measure(volumes / volume["name"], enough)
        if used[volume["name"]] > enough:
            name = volume["name"]
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    limits = {one["name"]: limit for one in spec["containers"] if (limit := _limit(one))}
    if not limits:
        return None
    total = sum(quantity.whole(limit) for limit in limits.values())
    wrote = {name: measure(folder, total) for name, folder in layers.items()}
    if sum([*used.values(), *wrote.values()]) > total:
        said = next(iter(limits.values())) if len(limits) == 1 else total
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {said}. "
    for name, limit in limits.items():
        if wrote[name] > quantity.whole(limit):
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return None


def is_limited(spec: Mapping[str, Any]) -> bool:
    """Whether there is anything to watch a pod's disk for."""
    sized = any((one.get("emptyDir") or {}).get("sizeLimit") for one in spec.get("volumes") or [])
    return sized or any(_limit(one) for one in spec["containers"])


def _limit(container: Mapping[str, Any]) -> Any:  # noqa: ANN401  (a quantity as it was written)
    return ((container.get("resources") or {}).get("limits") or {}).get("ephemeral-storage")


async def watch(
    look: Callable[[Measure], str | None], every: float, turn: asyncio.Semaphore
) -> str:
    """Look every `every` seconds, or less often if a look takes long; return what was found.

    Looks take `turn`s, and no more than a twentieth of one thread's time. A cancelled one ends
    soon.
    """
    pause = every
    while True:
        await asyncio.sleep(pause)
        async with turn:
            began = time.monotonic()
            found = await _stoppable(look)
        if found is not None:
            return found
        pause = max(every, (time.monotonic() - began) / _SHARE)


async def _stoppable(look: Callable[[Measure], str | None]) -> str | None:
    stop = threading.Event()
    measure = partial(disk.usage, stopped=stop.is_set)
    done = asyncio.get_running_loop().run_in_executor(None, look, measure)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([done])
        raise
