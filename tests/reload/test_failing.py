"""A successor that doesn't come up leaves the old daemon as it was; what dies later is survived."""

import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.dev import eventually, output
from tests.e2e.serve import free_port, write_config

from .house import Cluster, House, finished, heir_of, of_config, standing
from .systemd import Systemd


@contextmanager
def refused(house: House) -> Iterator[list[str]]:
    """Reload beside the block, which makes it fail; yield why, which is there afterwards."""
    why: list[str] = []
    asking = threading.Thread(target=lambda: why.append(house.refused_reload()))
    asking.start()
    try:
        yield why
    finally:
        asking.join(60)


def test_the_old_daemon_goes_on_where_no_new_one_comes_up(config: Path, cluster: Cluster) -> None:
    with Systemd() as systemd, standing(config, systemd.env) as house:
        client = house.enter("cat")
        first = house.owner()
        good = config.read_text()
        config.write_text(good + "[colours]\nred = 1\n")
        assert "colours: unknown setting" in house.refused_reload()
        config.write_text(good)
        with refused(house) as why:
            heir_of(house, first.pid).kill()
        assert "it ended before it could serve" in why[0]
        # And when it has the store already: it waits for the cluster's first list.
        with refused(house) as why, cluster.silent():
            eventually(lambda: len(house.events("handover.goes")) == 1)
            held = house.pod.start("echo held")
            house.clients.append(held)
            heir = heir_of(house, first.pid)
            eventually(lambda: [file for file in heir.open_files() if "sqlite" in file.path])
            heir.kill()
        assert "it ended before it served" in why[0]
        assert finished(held)[:2] == (0, b"held\n")
        assert house.owner() == first
        assert of_config(config) == [first]
        assert house.pod.view()["ready"]
        assert finished(client, said=b"still here\n")[:2] == (0, b"still here\n")
        assert len(house.events("handover.failed")) == 3
        second = house.reload()
        assert house.first.wait(20) == 0
        failed = ["RELOADING=1", "READY=1"]
        told = ["READY=1", *failed * 3, "RELOADING=1", f"MAINPID={second.pid}", "READY=1"]
        assert systemd.told_by(first.pid) == told
        second.terminate()
        second.wait(20)
        assert systemd.told_by(second.pid) == ["STOPPING=1"]


@pytest.mark.slow
def test_addresses_may_change_and_the_state_folder_may_not(house: House) -> None:
    file, good = house.config, house.config.read_text()
    file.write_text(good.replace(str(house.state), f"{house.state}2"))
    assert "that takes a restart" in house.refused_reload()
    before = house.dev.env["KGPU_API_BASE"].split("/")[2]
    after = f"127.0.0.1:{free_port()}"
    file.write_text(good.replace(before, after))
    house.reload()
    assert house.first.wait(20) == 0
    assert b"v100" in output(["curl", "-sSf", f"http://{after}/v1/gpu-models"])
    output(["curl", "-sSf", f"http://{before}/v1/gpu-models"], code=7)


def test_only_those_are_lost_whose_own_daemon_dies(house: House) -> None:
    oldest = house.enter("exec sleep 1000")
    house.reload()
    old = house.enter("exec sleep 1000")
    owner = house.reload()
    young = house.enter("exec sleep 1000")
    eventually(lambda: len(house.sessions("--open")) == 3)
    house.first.kill()
    code, _, _ = finished(oldest)
    assert code == 255
    [lost] = eventually(lambda: [row for row in house.sessions() if row["closed_at"]])
    assert (lost["reason"], lost["bytes_in"]) == ("daemon_lost", None)
    assert (old.poll(), young.poll()) == (None, None)
    # The core is gone, and with it whoever would know when the elder's session has to end.
    owner.kill()
    code, _, said = finished(old)
    assert (code, b"kgpud is restarting" in said) == (255, True)
    assert finished(young)[0] == 255
    eventually(lambda: of_config(house.config) == [])


def test_a_stop_ends_the_elders_too(tmp_path: Path, kubeconfig: Path) -> None:
    with standing(write_config(tmp_path, kubeconfig, drain=1)) as house:
        long, short = house.enter("exec sleep 1000"), house.enter("read line; exit 3")
        owner = house.reload()
        owner.terminate()
        assert finished(short, said=b"now\n")[0] == 3
        code, _, said = finished(long)
        assert (code, b"kgpud is restarting" in said) == (255, True)
        owner.wait(20)
        assert house.first.wait(20) == 0
        assert of_config(house.config) == []
        with closing(sqlite3.connect(house.state / "kgpud.sqlite3")) as store:
            found = store.execute("SELECT reason, exit_status FROM sessions").fetchall()
        assert set(found) == {("daemon_stopped", 255), ("exit", 3)}


def test_a_stop_in_the_middle_of_a_handover_drains_too(config: Path, cluster: Cluster) -> None:
    with standing(config) as house:
        client = house.enter("read line; exit 3")
        asking = threading.Thread(target=house.reload)
        with handing_over(house, cluster, asking):
            house.first.terminate()
        asking.join(60)
        eventually(lambda: house.events("handover.done"))
        # The successor, which the signal was meant for, passes it on to those before it.
        eventually(lambda: takes_nobody(int(house.pod.port)))
        assert finished(client, said=b"now\n")[0] == 3
        eventually(lambda: of_config(config) == [])


@pytest.mark.slow
def test_an_elder_that_dies_once_it_has_let_go_leaves_a_daemon(
    config: Path, cluster: Cluster
) -> None:
    with standing(config) as house:
        client = house.enter("exec sleep 1000")
        asking = threading.Thread(target=house.reload)
        with handing_over(house, cluster, asking) as heir:
            house.first.kill()
            house.first.wait(20)
        # Whoever asked is told, and the successor is a daemon like any other.
        asking.join(30)
        assert not asking.is_alive()
        assert house.owner() == heir
        assert finished(client)[0] == 255
        assert house.pod.ssh("exit 4").returncode == 4
        assert house.reload() != heir


@contextmanager
def handing_over(
    house: House, cluster: Cluster, asking: threading.Thread
) -> Iterator[psutil.Process]:
    """Ask for a reload; yield the successor while it has the store and doesn't serve yet."""
    with cluster.silent():
        asking.start()
        eventually(lambda: house.events("handover.goes"))
        heir = heir_of(house, house.first.pid)
        eventually(lambda: [file for file in heir.open_files() if "sqlite" in file.path])
        yield heir


def takes_nobody(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 20).close()
    except ConnectionRefusedError:
        return True
    return False
