"""Who answers for each recording: the local cluster reproduces it, or the bench of lies plays it.

`python -m tests.recorded` prints the table.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.recorded import files

CLUSTER = (
    "tests.localcluster.test_recorded_api",
    "tests.localcluster.test_recorded_lifecycle",
    "tests.localcluster.test_recorded_exec",
)
REPLAY = ("tests.lies.test_sessions", "tests.lies.test_lives", "tests.lies.test_exchanges")

# What neither does, and why.
LEFT_OUT: dict[str, str] = {}


@dataclass(frozen=True)
class Entry:
    """One recording: the modules that have it, and why the others don't."""

    name: str
    cluster: str | None
    replay: str | None
    reason: str

    @property
    def by_whom(self) -> str:
        who = [word for word, has in (("cluster", self.cluster), ("replay", self.replay)) if has]
        return " and ".join(who) or "nobody"


def entries() -> list[Entry]:
    """Return an entry for each recording there is."""
    return [
        Entry(name, _holder(CLUSTER, name), _holder(REPLAY, name), _reason(name))
        for name in files.names()
    ]


def cases() -> Iterator[tuple[str, str]]:
    """Yield each module and recording that it says it has."""
    for module in (*CLUSTER, *REPLAY):
        for name in _table(module, "CASES"):
            yield module, name


def reasons() -> Iterator[tuple[str, str]]:
    """Yield each module and recording that it says it leaves out."""
    for module in (*CLUSTER, *REPLAY):
        for name in _table(module, "LEFT_OUT"):
            yield module, name


def _holder(modules: tuple[str, ...], name: str) -> str | None:
    return next((module for module in modules if name in _table(module, "CASES")), None)


def _reason(name: str) -> str:
    tables = [LEFT_OUT, *(_table(module, "LEFT_OUT") for module in (*CLUSTER, *REPLAY))]
    found = (why for table in tables for key, why in table.items() if fnmatchcase(name, key))
    return next(found, "")


def _table(module: str, table: str) -> dict[str, str]:
    found = getattr(importlib.import_module(module), table)
    return dict(found) if isinstance(found, dict) else dict.fromkeys(found, "")
