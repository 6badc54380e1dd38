"""Whether the cluster at the other end is the one that the rentals' pods are in."""

from kgpud.cluster.client import Cluster
from kgpud.cluster.errors import ClusterError
from store import installation, rentals
from store.db import Connection, Database


async def live_elsewhere(conn: Connection, uid: str) -> int:
    """Return how many live rentals have pods in another cluster than the one with this uid."""
    theirs = await installation.cluster(conn)
    return 0 if theirs in {None, uid} else len(await rentals.placed(conn))


class SameCluster:
    """Knows a cluster again by the uid of the namespace of its pods.

    A kubeconfig that leads elsewhere shows a cluster without our pods. To believe that list would
    end every rental, and to be put right would then delete their pods.
    """

    def __init__(self, db: Database, cluster: Cluster) -> None:
        self._db = db
        self._cluster = cluster
        self._known: str | None = None

    async def check(self) -> None:
        """Raise ClusterError where live rentals have pods in another cluster than this one.

        Without any this one is theirs from now on. Raises StoreUnavailable.
        """
        uid = await self._cluster.identity()
        if uid is None or uid == self._known:
            return
        async with self._db.transaction() as tx:
            if live := await live_elsewhere(tx, uid):
                theirs = await installation.cluster(tx)
                raise ClusterError(_sentence(self._cluster.namespace, uid, theirs, live))
            await installation.use(tx, uid)
        self._known = uid


def _sentence(namespace: str, uid: str, theirs: str | None, live: int) -> str:
    return (
        f"this is another cluster than that of the {live} live rentals: its namespace {namespace}"
        f" has uid {uid}, theirs has {theirs}. Give the kubeconfig of theirs, or, if that cluster"
        " is no more, end them with kgpud pod release"
    )
