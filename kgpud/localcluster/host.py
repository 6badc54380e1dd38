"""What every pod of this cluster is made with."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kgpud.localcluster import cgroups, reach
from kgpud.localcluster.pod_events import Recorder
from kgpud.localcluster.registry import Registry
from kgpud.localcluster.timings import Timings


@dataclass(frozen=True)
class Host:
    """This machine, as far as pods are concerned. `groups` is None where memory is sampled."""

    registry: Registry
    recorder: Recorder
    folder: Path
    bwrap: Path
    reach: Sequence[reach.Address]
    uid: Callable[[], int | None]
    groups: cgroups.Groups | None = None
    timings: Timings = field(default_factory=Timings)
    disk_turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    @property
    def images(self) -> Path:
        """The folder of image files that pods share."""
        return self.folder / "images"
