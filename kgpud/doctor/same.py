"""Whether the cluster is still the one that the live rentals are in."""

from collections.abc import AsyncIterator

from kgpud import statefolder
from kgpud.doctor.findings import Finding, fail, ok, skip
from kgpud.doctor.patient import Patient
from kgpud.samecluster import live_elsewhere
from store import rentals
from store.db import Database, StoreUnavailable
from store.migrate import TooNew, TooOld

_CHECK = "same cluster"


async def cluster(patient: Patient) -> AsyncIterator[Finding]:
    """Compare its namespace with the one that the store knows, as the daemon does."""
    uid = await patient.cluster.identity()
    try:
        async with Database.snapshot(patient.config.state / statefolder.DATABASE) as rx:
            live = len(await rentals.placed(rx))
            elsewhere = 0 if uid is None else await live_elsewhere(rx, uid)
    except (OSError, StoreUnavailable, TooNew, TooOld):
        yield skip(_CHECK, "the database can't be read: see above")
        return
    if uid is None:
        yield skip(_CHECK, "we may not ask: see its rights")
    elif elsewhere:
        remedy = "give the kubeconfig of theirs; if that cluster is no more: kgpud pod release"
        yield fail(_CHECK, f"{elsewhere} live rentals are in another one", remedy)
    else:
        yield ok(_CHECK, f"{live} live rentals are in it")
