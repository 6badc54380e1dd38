"""`kgpud reload`: an upgrade that refuses no connection and drops no session."""

import hashlib
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.clients.test_sshfs import SERVER, has_fuse, mounted
from tests.e2e.dev import eventually
from tests.e2e.serve import serving

from .house import EMAIL, House, finished, of_config, standing
from .knocking import knocking


class Transfers:
    """An upload and a download that go on until they are told to end, and a command over REST."""

    def __init__(self, house: House) -> None:
        self.sent, self.received = hashlib.sha256(), hashlib.sha256()
        self.bytes_sent = 0
        self.answer: dict[str, Any] = {}
        self._over = threading.Event()
        self._house = house
        self._up = house.enter("sha256sum; exit 7")
        until_stop = "while [ ! -e /workspace/stop ]; do"
        down = f"{until_stop} head -c 20000 /dev/urandom; sleep 0.01; done | tee sent; exit 5"
        self._down = house.enter(down)
        self._command = f"{until_stop} sleep 0.1; done; echo done; exit 3"

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Go on while the block runs, then end."""
        threads = [threading.Thread(target=go) for go in (self._send, self._receive, self._exec)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._house.pod.ssh("touch stop")
            for thread in threads:
                thread.join(30)

    def check(self) -> None:
        """See that all bytes came, and every exit code."""
        assert self._up.stdout
        assert self._up.stdout.read().split()[0].decode() == self.sent.hexdigest()
        assert self._up.wait(20) == 7
        there = self._house.pod.ssh("sha256sum sent").stdout.split()[0].decode()
        assert there == self.received.hexdigest()
        assert self._down.wait(20) == 5
        assert (self.answer.get("exit_code"), self.answer.get("stdout")) == (3, "done\n")

    def _send(self) -> None:
        chance = random.Random(4)
        assert self._up.stdin
        while not self._over.is_set():
            data = chance.randbytes(20_000)
            self.sent.update(data)
            self.bytes_sent += len(data)
            self._up.stdin.write(data)
            time.sleep(0.005)
        self._up.stdin.close()

    def _receive(self) -> None:
        assert self._down.stdout
        while data := self._down.stdout.read(65536):
            self.received.update(data)

    def _exec(self) -> None:
        path = f"/pods/{self._house.pod.pod_id}/exec"
        self.answer = self._house.dev.api("POST", path, {"cmd": ["sh", "-c", self._command]})


def test_nothing_ends_and_nobody_is_refused_in_two_reloads(house: House) -> None:
    transfers = Transfers(house)
    idle = [house.enter("exec sleep 1000")]
    with transfers.going_on(), knocking(house) as knocks:
        second = house.reload()
        idle.append(house.enter("exec sleep 1000"))
        third = house.reload()
        assert set(of_config(house.config)) == {psutil.Process(house.first.pid), second, third}
        idle.append(house.enter("exec sleep 1000"))
    for kind, met in knocks.met.items():
        assert set(met) == {"ok"}, (kind, met)
    assert sum(met.total() for met in knocks.met.values()) > 100
    transfers.check()
    # Who is in which pod is known, of all three, and a new key ends it at once.
    assert len(eventually(lambda: (rows := house.sessions("--open")) and rows)) == 3
    house.dev.api("PATCH", f"/pods/{house.pod.pod_id}", {})
    for client in idle:
        code, _, said = finished(client)
        assert (code, b"this rental's key was replaced" in said) == (255, True)
    eventually(lambda: of_config(house.config) == [third])
    assert house.first.wait(20) == 0
    rows = house.sessions("--limit", "1000")
    assert {(row["reason"], row["exit_status"]) for row in rows} == {
        ("exit", 0),
        ("exit", 5),
        ("exit", 7),
        ("key_rotated", 255),
    }
    assert [row["bytes_in"] for row in rows if row["exit_status"] == 7] == [transfers.bytes_sent]
    # The descriptors that led to the elders are closed.
    assert not [one for one in third.net_connections("unix") if "SEQPACKET" in str(one.type)]
    third.terminate()
    third.wait(20)
    assert house.events("handover.failed") == []


def test_an_elders_session_counts_as_use_and_ends_with_its_rental(house: House) -> None:
    busy, idle = house.enter("cat"), house.enter("exec sleep 1000")
    # Short: a socket's path has 107 bytes.
    master = f"/tmp/kgpud-reload-{os.getpid()}"
    house.enter("exec sleep 1000", "-M", f"-S{master}")
    house.reload()
    # A new session on a connection that the elder has.
    assert house.pod.ssh(f"-S{master}", "echo $((6 * 7))").stdout == b"42\n"

    def used() -> str:
        return str(house.pod.view()["idle"]["last_activity_at"])

    before = used()
    assert finished(busy, said=b"still here\n")[:2] == (0, b"still here\n")
    assert eventually(lambda: used() > before)
    house.kgpud("pod", "release", house.pod.pod_id)
    code, _, said = finished(idle)
    assert (code, b"the operator released the rental" in said) == (255, True)


@pytest.mark.slow
@has_fuse
def test_a_mount_lives_through_a_reload_and_is_back_after_a_kill(
    house: House, tmp_path: Path
) -> None:
    options = ("-oreconnect,ServerAliveInterval=15", f"-osftp_server={SERVER}")
    with mounted(house.pod, tmp_path / "mnt", "/workspace", *options) as here:
        file = here / "file"
        with file.open("w") as written:
            written.write("before")
            written.flush()
            house.reload()
            written.write(" and after")
        for daemon in of_config(house.config):
            daemon.kill()
            daemon.wait(20)
        with pytest.raises(OSError, match="Input/output error"):
            file.read_text()
        with serving(house.config):
            file.write_text(f"{file.read_text()}, and again")
            assert house.pod.ssh("cat file").stdout == b"before and after, and again"
            # Or the daemon would wait for its session.
            subprocess.run(["fusermount3", "-u", str(here)], check=True, timeout=20)


@pytest.mark.slow
def test_credits_that_run_out_end_an_elders_session(config: Path) -> None:
    with standing(config, gpus=1) as house:
        house.kgpud("user", "credit", "--note", "a test", EMAIL, "--", "-99990")
        client = house.enter("exec sleep 1000")
        house.reload()
        code, _, said = finished(client, seconds=90)
        assert (code, b"the balance ran out" in said) == (255, True)


@pytest.mark.slow
def test_a_crowd_at_the_doors_is_not_refused(house: House) -> None:
    with knocking(house, doors=20) as knocks:
        for _ in range(5):
            house.reload()
    for kind, met in knocks.met.items():
        assert set(met) == {"ok"}, (kind, met)
    assert sum(met.total() for met in knocks.met.values()) > 2000
