"""A week of work in some minutes: people rent and work while their daemon is killed under them.

``KGPUD_WEEK_SECONDS`` and ``KGPUD_WEEK_SEED`` say for how long, and which week.
"""

import json
import os
import re
import threading
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.e2e.dev import eventually
from tests.e2e.serve import front, kgpud, sign_up, write_config
from tests.localcluster import clusters
from tests.reload.house import Cluster

from .keeper import Keeper, descriptors, memory_mib
from .researcher import CUT_OFF, Researcher

log = structlog.get_logger()

SECONDS = float(os.environ.get("KGPUD_WEEK_SECONDS", "180"))
SEED = int(os.environ.get("KGPUD_WEEK_SEED", "1"))
PEOPLE = 6
_MOST_MIB = 150
_MOST_DESCRIPTORS = 100
_SETTLED_SECONDS = 60.0


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
def test_a_week(tmp_path: Path) -> None:
    with clusters.running(tmp_path / "cluster") as running:
        cluster = Cluster(running.process, running.state / "kubeconfig")
        config = write_config(tmp_path, cluster.kubeconfig, drain=3)
        keeper = Keeper(config, cluster, SEED)
        with keeper.keeping():
            people = [researcher(config, keeper, number) for number in range(PEOPLE)]
            live(keeper, people)
            met = sum((person.met for person in people), Counter())
            log.info("a_week", disturbed=dict(keeper.disturbed), met=dict(sorted(met.items())))
            assert [wrong for person in people for wrong in person.wrong] == []
            assert (
                sum(right for kind, right in met.items() if kind.endswith("right")) > SECONDS / 10
            )
            check_books(config, people)
            check_leftovers(config, keeper, running)
    said = config.with_suffix(".log").read_text()
    assert not re.search("Traceback|crashed", said), config


def researcher(config: Path, keeper: Keeper, number: int) -> Researcher:
    token = sign_up(config, f"person-{number}@example.org")
    dev = front(config, keeper.started, token)
    return Researcher(dev, config.parent / f"person-{number}", SEED * 100 + number)


def live(keeper: Keeper, people: Sequence[Researcher]) -> None:
    """Let everybody work, and the daemon be disturbed, for so long."""
    over = threading.Event()
    threads = [threading.Thread(target=person.live, args=(over,)) for person in people]
    threads.append(threading.Thread(target=keeper.disturb, args=(over,)))
    for thread in threads:
        thread.start()
    over.wait(SECONDS)
    over.set()
    for thread in threads:
        thread.join(600)
        assert not thread.is_alive()
    assert keeper.failed is None


def check_books(config: Path, people: Sequence[Researcher]) -> None:
    """See that every rental ended as its user ended it, and that every credit is accounted for."""
    store = ("--config", str(config))
    eventually(lambda: json.loads(kgpud("pod", "list", "--json", *store)) == [], _SETTLED_SECONDS)
    rows = json.loads(kgpud("pod", "list", "--all", "--json", *store))
    assert {row["pod_id"] for row in rows} == {pod for one in people for pod in one.rentals}
    assert {row["end_reason"] for row in rows} <= {"returned", CUT_OFF}
    assert {row["phase"] for row in rows} == {"Ended"}
    kgpud("db", "check", *store)


def check_leftovers(config: Path, keeper: Keeper, cluster: clusters.Running) -> None:
    """See that no session, pod, memory or descriptor is left."""
    listing = ("session", "list", "--open", "--json", "--config", str(config))
    eventually(lambda: json.loads(kgpud(*listing)) == [], _SETTLED_SECONDS)
    eventually(lambda: pods(cluster) == [], _SETTLED_SECONDS)
    daemon = keeper.owner()
    assert memory_mib(daemon) < _MOST_MIB
    assert descriptors(daemon) < _MOST_DESCRIPTORS


def pods(cluster: clusters.Running) -> list[Any]:
    url = f"{cluster.url}/api/v1/namespaces/kgpu/pods"
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {cluster.token}"})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        items: list[Any] = json.load(answer)["items"]
    return items
