"""What every test must leave as it found it: no task, no process, no descriptor."""

import asyncio
import gc
import inspect
import os
import signal
from collections.abc import AsyncIterator, Iterator

import psutil
import pytest

_BOUND_SECONDS = 5.0


def pytest_configure() -> None:
    """Undo what a runner in the background does: its children would ignore these signals."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Watch tasks where there are any: an event loop for every other test costs a minute."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            item.fixturenames.insert(0, "no_leftover_tasks")


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    children, descriptors = _children(), _descriptors()
    yield
    # Grandchildren, such as a shared cluster's pods, are their own parents' care.
    left = [process for process in _children() if process not in children]
    psutil.wait_procs(left, timeout=_BOUND_SECONDS)
    left = [process for process in left if process.is_running()]
    assert not left, f"processes left: {left}"
    if _descriptors() - descriptors:
        gc.collect()
    opened = {fd: _target(fd) for fd in _descriptors() - descriptors}
    assert not opened, f"descriptors left: {opened}"


@pytest.fixture
async def no_leftover_tasks() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=_BOUND_SECONDS)
    assert not left, f"tasks left: {left}"


def _children() -> list[psutil.Process]:
    return psutil.Process().children()


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd")) - {str(_listing_descriptor())}


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
