"""An API server that is far away, away, or another one after a restart."""

import hashlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.dev import Pod, eventually
from tests.localcluster import clusters

from . import chaos
from .faults import Fault, How, Where
from .stack import Stack, address, lead_to, stack

_WITHIN = 60.0


def ended(client: subprocess.Popen[bytes]) -> bytes:
    """Wait for a client whose stream broke; return what it says."""
    _, said = client.communicate(timeout=_WITHIN)
    assert client.returncode == 255
    assert re.search(rb"^kgpud: the connection to the pod broke: .+\n", said, re.MULTILINE), said
    return said


def running(pod: Pod) -> subprocess.Popen[bytes]:
    client = pod.start("echo in; cat; sleep 100")
    assert client.stdout
    assert client.stdout.readline() == b"in\n"
    return client


# What one of them proves the other proves once more, and both wait long for the daemon's patience.
@pytest.mark.parametrize("how", [How.RESET, pytest.param(How.END, marks=pytest.mark.slow)])
def test_who_cannot_be_reached_ends_sessions_and_no_rental(tmp_path: Path, how: How) -> None:
    with stack(tmp_path) as world:
        pod = world.rent()
        client = running(pod)
        world.thread.run(world.chaos.refuse(how))
        ended(client)
        refused = pod.ssh("true")
        assert refused.returncode == 255
        assert b"kgpud: the cluster could not run the command: the API server can't" in (
            refused.stderr
        )
        assert pod.view()["phase"] == "Running"
        # What is last known is still shown, and said to be that; what needs the cluster is 503.
        eventually(lambda: pod.view().get("stale") == "cluster_unreachable", _WITHIN)
        assert {line["stale"] for line in world.dev.api("GET", "/gpu-models")} == {
            "cluster_unreachable"
        }
        done = world.dev.api("POST", f"/pods/{pod.pod_id}/exec", {"cmd": ["true"]})
        assert (done["_status"], done["code"]) == (503, "cluster_unreachable")
        world.thread.run(world.chaos.open())
        eventually(lambda: "stale" not in pod.view(), _WITHIN)
        assert pod.ssh("exit 7").returncode == 7
        for seed in range(5):
            world.chaos.draw = chaos.by_seed(seed, 1.0)
            world.thread.run(cut_all(world))
            world.dev.api("GET", "/pods")
        world.chaos.draw = chaos.calm
        world.thread.run(cut_all(world))
        # That a new one becomes ready is the watch's work.
        assert eventually(lambda: rented(world), _WITHIN).ssh("exit 7").returncode == 7
        assert pod.view()["phase"] == "Running"


def rented(world: Stack) -> Pod | None:
    """Rent a pod, unless the cluster is still thought to be away."""
    try:
        return world.rent()
    except AssertionError as refused:
        if "cluster_unreachable" in str(refused):
            return None
        raise


async def cut_all(world: Stack) -> None:
    world.chaos.cut_all(How.RESET)


def test_a_round_trip_as_a_real_cluster_has_it(world: Stack, pod: Pod, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "data").write_bytes(data)
    world.chaos.round_trip = 0.005
    try:
        done = pod.ssh("sha256sum; exit 9", stdin=data)
        assert (done.returncode, done.stdout.split()[0].decode()) == (
            9,
            hashlib.sha256(data).hexdigest(),
        )
        pod.scp("-O", str(tmp_path / "data"), "POD:/tmp/far")
        pod.scp("-O", "POD:/tmp/far", str(tmp_path / "back"))
        pod.rsync("POD:/tmp/far", str(tmp_path / "again"))
    finally:
        world.chaos.round_trip = 0.0
    assert (tmp_path / "back").read_bytes() == data
    assert (tmp_path / "again").read_bytes() == data


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_another_cluster_process_in_the_same_place(tmp_path: Path, number: signal.Signals) -> None:
    """Its pods went with the old one, so their rentals end, but not before it can be asked."""
    with stack(tmp_path) as world:
        pod = world.rent()
        client = running(pod)
        world.cluster.stop(number)
        ended(client)
        assert pod.view()["phase"] == "Running"
        port = str(address(world.cluster)[1])
        with clusters.running(world.cluster.state, "--port", port) as again:
            lead_to(tmp_path, again, world.chaos)
            view = eventually(lambda: (now := pod.view())["phase"] == "Ended" and now, _WITHIN)
            assert view["end_reason"] == "pod_lost"
            assert world.rent().ssh("exit 7").returncode == 7


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_who_says_nothing_any_more_is_given_up_and_asked_again(tmp_path: Path) -> None:
    """Connections stay, and nothing comes: the daemon has to notice by its own clock."""
    with stack(tmp_path) as world:
        pod = world.rent()
        world.chaos.draw = silent
        world.thread.run(cut_all(world))
        assert eventually(lambda: rented(world) is None, _WITHIN)
        assert pod.view()["phase"] == "Running"
        world.chaos.draw = chaos.calm
        # A list that is not answered is given up after 10 s, a watch after 75.
        assert eventually(lambda: rented(world), 120).ssh("exit 7").returncode == 7
        assert pod.view()["phase"] == "Running"


def silent(_number: int, _word: str) -> Fault:
    """Let no answer come, for an hour."""
    return Fault(How.STALL, Where.HEAD, part=0.0, seconds=3600)
