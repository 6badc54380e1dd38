"""From settings to an open store and the services on it."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgpud.clock import Clock
from kgpud.object_settings import Objects as Settings
from kgpud.objects.admission import Admission
from kgpud.objects.checksums import Checksums
from kgpud.objects.erasing import Eraser
from kgpud.objects.folder import FolderStore
from kgpud.objects.looking import Looking
from kgpud.objects.plan import GB, MIB, Limits
from kgpud.objects.s3 import S3Store
from kgpud.objects.service import Objects
from kgpud.objects.signing import Signer
from kgpud.objects.stores import ObjectStore
from kgpud.objects.sweep import Sweep
from kgpud.objects.uploads import Uploads
from store.db import Database


@dataclass(frozen=True)
class Transit:
    """Transit objects, built and not yet running: `loops` are to run beside everything else."""

    store: ObjectStore
    objects: Objects
    sweep: Sweep
    checksums: Checksums
    admission: Admission

    @property
    def folder(self) -> FolderStore | None:
        """The store if it is one that we serve ourselves."""
        return self.store if isinstance(self.store, FolderStore) else None

    @property
    def loops(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What runs until it is cancelled."""
        return self.sweep.run, self.checksums.run


@asynccontextmanager
async def opened(
    settings: Settings, state: Path, installation: str, signer: Signer
) -> AsyncIterator[ObjectStore | None]:
    """Hold the store that is set, None if there is to be none. Raises OSError."""
    if settings.store == "folder":
        folder = settings.folder.path or state / "objects"
        async with FolderStore.open(
            folder / installation,
            signer,
            put_bytes=settings.put_mib * MIB,
            floor=round(settings.folder.min_free_gb * GB),
        ) as store:
            yield store
    elif settings.store == "s3":
        async with S3Store.open(settings.s3, installation) as store:
            yield store
    else:
        yield None


def build(db: Database, clock: Clock, store: ObjectStore, settings: Settings) -> Transit:
    """Build the services on a store."""
    limits = Limits(
        account_bytes=round(settings.quota_gb * GB),
        object_bytes=round(settings.object_gb * GB),
        account_objects=settings.count,
        put_bytes=settings.put_mib * MIB,
        part_bytes=settings.part_mib * MIB,
    )
    eraser = Eraser(db, clock, store)
    checksums = Checksums(db, clock, store, eraser)
    looking = Looking(db, clock, store, limits, checksums, eraser)
    return Transit(
        store=store,
        objects=Objects(db, clock, store, limits, Uploads(db, clock, store), looking, eraser),
        sweep=Sweep(db, clock, store, looking, eraser),
        checksums=checksums,
        admission=Admission(db, clock, limits),
    )
