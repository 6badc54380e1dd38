"""What every test must leave as it found it: no task, no process, no descriptor."""

import asyncio
import gc
import inspect
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

_BOUND_SECONDS = 5.0
# A daemon's connection to a server that tests share, here in a thread, may idle for 15 s.
_IDLE_SECONDS = 20.0

# Where this is set, every worker and every daemon that a test starts compiles everything again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_configure() -> None:
    """Undo what a runner in the background does: its children would ignore these signals.

    Collecting tests makes no garbage, and the collector takes a third of that time.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Watch tasks where there are any: an event loop for every other test costs a minute."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            item.fixturenames.insert(0, "no_leftover_tasks")


def pytest_collection_finish() -> None:
    """Spare the collector the thousands of items that live to the end."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    children, descriptors = _children(), _descriptors()
    yield
    # Grandchildren, such as a shared cluster's pods, are their own parents' care.
    _, left = psutil.wait_procs(_processes(_children() - children), timeout=_BOUND_SECONDS)
    assert not left, f"processes left: {left}"
    if _descriptors() - descriptors:
        gc.collect()
    until = time.monotonic() + _IDLE_SECONDS
    while (opened := _opened_since(descriptors)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not opened, f"descriptors left: {opened}"


@pytest.fixture
async def no_leftover_tasks() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=_BOUND_SECONDS)
    assert not left, f"tasks left: {left}"


def _children() -> set[int]:
    """Ask each thread for its own: psutil reads all of /proc, and this is asked 8,000 times."""
    children: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        path = Path("/proc/self/task", thread, "children")
        try:
            children.update(map(int, path.read_text().split()))
        except OSError:
            assert thread != str(os.getpid()), "this kernel does not tell children"
    return children


def _processes(pids: set[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd")) - {str(_listing_descriptor())}


def _opened_since(before: set[str]) -> dict[str, str]:
    """Return what is open besides; a connection in the place of one that was closed is not."""
    now = _descriptors()
    return {fd: _target(fd) for fd in now - before} if len(now) > len(before) else {}


def _listing_descriptor() -> int:
    """Return the number that listdir itself takes, the lowest free one."""
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return "closed meanwhile"
