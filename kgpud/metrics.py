"""What the daemon counts about itself, in Prometheus' text format (exposition formats, 0.0.4)."""

from functools import partial
from importlib import metadata
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from kgpud.catalog import Catalog
from kgpud.watchdog import Watchdog
from store import rentals, sessions
from store.db import Database
from store.records import Phase

_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class Counters:
    """What is counted as it happens, from this daemon's start on.

    Labels have few values, all of them ours: no account, rental or address is among them.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        counter = partial(Counter, registry=registry)
        self._requests = counter(
            "kgpud_http_requests",
            "Requests answered, by method, route and status; 0 if there was no answer.",
            ("method", "route", "status"),
        )
        self._seconds = Histogram(
            "kgpud_http_request_seconds",
            "How long requests took, streamed answers included.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._sessions = counter(
            "kgpud_ssh_sessions_ended", "SSH sessions that ended, by why.", ("reason",)
        )
        self._bytes = counter(
            "kgpud_ssh_bytes",
            "Bytes moved by SSH sessions that ended: in from clients, out to them.",
            ("direction",),
        )
        # Finding a series by its labels takes longer than counting.
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        key = (method, route, status)
        if key not in self._series:
            count = self._requests.labels(method, route, str(status))
            self._series[key] = count, self._seconds.labels(route)
        count, took = self._series[key]
        count.inc()
        took.observe(seconds)

    def session_ended(self, reason: str, bytes_in: int, bytes_out: int) -> None:
        """Count a session."""
        self._sessions.labels(reason).inc()
        self._bytes.labels("in").inc(bytes_in)
        self._bytes.labels("out").inc(bytes_out)


class Metrics:
    """All there is to tell: what was counted, and how things stand when somebody asks."""

    def __init__(
        self, db: Database, catalog: Catalog, counters: Counters, watchdog: Watchdog
    ) -> None:
        self.counters = counters
        self._db = db
        self._catalog = catalog
        self._watchdog = watchdog
        gauge = partial(Gauge, registry=counters.registry)
        self._rentals = gauge("kgpud_rentals", "Rentals whose pod is not gone.", ("phase",))
        self._burn = gauge("kgpud_burn_credits_per_hour", "What all running rentals cost.")
        self._sessions = gauge("kgpud_ssh_sessions", "Open SSH sessions.")
        self._gpus = gauge(
            "kgpud_gpus",
            "GPUs of Ready, schedulable nodes: in total, and free ones.",
            ("gpu_model", "which"),
        )
        self._connected = gauge(
            "kgpud_cluster_connected",
            "1 while the watch on the cluster is fresh; while it is 0 no minute is charged.",
        )
        self._blocks_told = 0
        self._blocks = Counter(
            "kgpud_loop_blocks",
            "How often something kept the event loop for more than 20 ms.",
            registry=counters.registry,
        )
        self._longest = gauge("kgpud_loop_longest_block_seconds", "The longest of these.")
        version = gauge("kgpud_info", "1, with the version.", ("version",))
        version.labels(metadata.version("kgpud")).set(1)

    async def text(self) -> bytes:
        """Return it all. Raises StoreUnavailable."""
        async with self._db.reading() as rx:
            standing = await rentals.standing(rx)
            open_sessions = await sessions.count_open(rx)
        for phase in get_args(Phase):
            if phase != "Ended":
                self._rentals.labels(phase).set(standing.phases.get(phase, 0))
        self._burn.set(standing.burn_per_hour)
        self._sessions.set(open_sessions)
        self._gpus.clear()
        for model in self._catalog.menu():
            self._gpus.labels(model.gpu_model, "total").set(model.total)
            self._gpus.labels(model.gpu_model, "free").set(model.free)
        self._connected.set(self._catalog.fresh)
        self._blocks.inc(self._watchdog.blocks - self._blocks_told)
        self._blocks_told = self._watchdog.blocks
        self._longest.set(self._watchdog.longest)
        return generate_latest(self.counters.registry)
