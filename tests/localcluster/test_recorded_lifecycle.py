"""Recorded lives of pods: the same requests make the same states, Events and answers here."""

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest

from .clusters import running
from .recorded_lives import Life, Player, recorded

CASES: tuple[str, ...] = tuple(
    f"lifecycle/lifecycle_{name}"
    for name in (
        "bad_command",
        "conflicts_and_force_delete",
        "container_dies_while_exec",
        "delete_while_exec",
        "emptydir_limit_eviction",
        "ephemeral_limit_eviction",
        "exit_nonzero_never",
        "exit_zero_never",
        "gpu_insufficient",
        "gpu_ok",
        "graceful_term_ignored",
        "image_always_unreachable",
        "image_bad_name",
        "image_never_absent",
        "missing_secret",
        "normal_ready_delete",
        "oom",
        "oom_in_exec",
        "oom_restart",
        "tcp_probe",
    )
)
LEFT_OUT: dict[str, str] = {}

# One node as the recorder's was, and a kubelet that waits for less long.
_FLEET = """
nodes: [{name: rk8s-node, gpu_model: any, gpus: 8}]
timings: {first_back_off: 1, status_lag: 0.2, disk_sweep: 0.5}
"""
# The recorder's request came while the third run was about to end: here it comes after that.
_OOM_RESTART = "lifecycle/lifecycle_oom_restart"
_DELETE_AFTER = {_OOM_RESTART: 11}


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Life]]:
    """All cases, lived at once on one cluster."""
    folder = tmp_path_factory.mktemp("lives")
    (folder / "fleet.yaml").write_text(_FLEET)
    with running(folder / "state", "--fleet", str(folder / "fleet.yaml")) as cluster:
        yield asyncio.run(_live(cluster.url, cluster.token))


async def _live(url: str, token: str) -> dict[str, Life]:
    headers = {"Authorization": f"Bearer {token}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:
        players = [Player(session, case, _DELETE_AFTER.get(case)) for case in CASES]
        found = await asyncio.gather(*(player.play() for player in players))
    return dict(zip(CASES, found, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_life_is_lived_again(case: str, lives: dict[str, Life]) -> None:
    wanted, found = recorded(case), lives[case]
    assert found.answers == wanted.answers
    assert found.events == wanted.events
    if case == _OOM_RESTART:
        for life in (wanted, found):
            _part_deletion(life)
    assert found.states == wanted.states


def _part_deletion(life: Life) -> None:
    """Move what only the deletion changed behind all else: there the two may come either way."""
    marks = [(one.pop("deleting"), one.pop("grace"), one.pop("gone")) for one in life.states]
    kept = [one for at, one in enumerate(life.states) if at == 0 or one != life.states[at - 1]]
    ends = [mark for at, mark in enumerate(marks) if at == 0 or mark != marks[at - 1]]
    life.states[:] = [*kept, {"marks": ends}]
