"""A disk that takes nothing: it is said, nothing is written by halves, and it goes on after."""

import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kgpud.clock import SystemClock
from store import check
from store.db import Database
from tests.e2e.serve import free_port
from tests.platform.child import BOUND, CONFIG, Child, serving, sign_up
from tests.platform.fake_api import FakeApi

Jam = Callable[[Child, Path], Any]
_BYTES = 4 << 20


@contextmanager
def full(_child: Child, state: Path) -> Iterator[None]:
    """Fill the disk."""
    filler = state / "filler"
    try:
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        yield
    finally:
        filler.unlink()


@contextmanager
def limited(child: Child, _state: Path) -> Iterator[None]:
    """Let the daemon's files grow no further, as under a quota."""
    before = resource.prlimit(child.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(child.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(child.process.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(_child: Child, state: Path) -> Iterator[None]:
    """Make the database's files immutable, open as they are."""
    files = [str(path) for path in state.glob("kgpud.sqlite3*")]
    done = subprocess.run(["chattr", "+i", *files], capture_output=True)
    try:
        if done.returncode != 0:
            pytest.skip(f"no immutable files here: {done.stderr.decode()}")
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], check=done.returncode == 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    state = tmp_path / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_BYTES},mode=700", "tmpfs", str(state)]
    done = subprocess.run(mount, capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"no mounting here: {done.stderr.decode()}")
    yield state
    subprocess.run(["umount", str(state)], check=True)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.root
@needs_root
async def test_a_full_disk(api: FakeApi, tmp_path: Path, small_disk: Path) -> None:
    await lives_through(full, api, tmp_path, small_disk)


@pytest.mark.slow
@pytest.mark.root
@needs_root
async def test_a_database_that_cannot_be_written(api: FakeApi, tmp_path: Path) -> None:
    await lives_through(read_only, api, tmp_path, tmp_path / "state")


@pytest.mark.slow
async def test_files_that_may_not_grow(api: FakeApi, tmp_path: Path) -> None:
    await lives_through(limited, api, tmp_path, tmp_path / "state")


async def test_a_log_that_takes_nothing_stops_nobody(api: FakeApi, tmp_path: Path) -> None:
    assert api is not None
    port = free_port()
    config = tmp_path / "kgpud.toml"
    text = CONFIG.format(state=tmp_path / "state", kubeconfig=tmp_path / "kubeconfig")
    config.write_text(text.replace(":0", f":{port}", 1))
    argv = [sys.executable, "-m", "kgpud", "serve", "--config", str(config)]
    full = os.open("/dev/full", os.O_WRONLY)
    daemon = await asyncio.create_subprocess_exec(*argv, stderr=full)
    os.close(full)
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(BOUND):
            answered = 0
            while answered < 3:
                assert daemon.returncode is None
                with suppress(aiohttp.ClientConnectorError):
                    async with session.get(f"http://127.0.0.1:{port}/v1/gpu-models") as answer:
                        assert answer.status == 200
                        answered += 1
                await asyncio.sleep(0.05)
    finally:
        daemon.terminate()
        assert await daemon.wait() == 0


async def lives_through(jam: Jam, api: FakeApi, folder: Path, state: Path) -> None:
    async with serving(state, folder / "kubeconfig") as child:
        token = await sign_up(state)
        pod_id = await running_for(57, child, api, state, token)
        path = f"/pods/{pod_id}"
        await child.eventually(path, token, lambda pod: pod["cost_credits"] == 16)
        with jam(child, state):
            await is_refused(child, token, path)
            # The second minute begins, and can't be charged.
            await child.until_said("metering.store_unavailable")
            assert not child.said("request_failed")
            assert await disagreements(state) == []
        # Without a restart, and with nothing skipped or doubled.
        await child.eventually(path, token, lambda pod: pod["cost_credits"] == 33)
        status, made = await child.call("POST", "/pods", token, key="k", gpu_count=0)
        assert status == 200
        status, ended = await child.call("DELETE", path, token)
        assert (status, ended["end_reason"], ended["cost_credits"]) == (200, "returned", 33)
        _, pods = await child.call("GET", "/pods", token)
        assert {pod["pod_id"] for pod in pods} == {pod_id, made["pod_id"]}
        assert await disagreements(state) == []
    assert child.process.returncode == 0


async def running_for(seconds: int, child: Child, api: FakeApi, state: Path, token: str) -> str:
    """Rent a pod whose container has run for so long."""
    _, rented = await child.call("POST", "/pods", token, gpu_count=0)
    ago = seconds * 1000
    async with Database.open(state / "kgpud.sqlite3") as db, db.transaction() as tx:
        await tx.run("UPDATE rentals SET created_at = created_at - ?", (ago,))
    api.run(rented["pod_id"], SystemClock().now_ms() - ago)
    return str(rented["pod_id"])


async def is_refused(child: Child, token: str, path: str) -> None:
    """Whatever writes is a 503 with a line in the log; what only reads is answered."""
    traces = []
    for method, where in (("POST", "/pods"), ("POST", "/pods"), ("DELETE", path)):
        key = "k" if where == "/pods" else None
        status, answer = await child.call(method, where, token, key=key, gpu_count=0)
        assert (status, answer["code"]) == (503, "store_unavailable")
        traces.append(answer["trace_id"])
    status, pod = await child.call("GET", path, token)
    assert (status, pod["phase"]) == (200, "Running")
    status, balance = await child.call("GET", "/balance", token)
    assert (status, balance["credits"]) == (200, 100_000 - 16)
    await child.until_said("store_unavailable", len(traces))
    lines = child.said("store_unavailable")
    assert [line["request_id"] for line in lines] == traces
    assert all(line["level"] == "error" for line in lines)
    assert all(line["error"].startswith("database: ") for line in lines)


async def disagreements(state: Path) -> list[str]:
    async with Database.snapshot(state / "kgpud.sqlite3") as rx:
        return await check.damage(rx) + await check.disagreements(rx)
