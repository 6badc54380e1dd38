"""The event loop serves everybody: no request keeps it to itself for long."""

import asyncio
import base64
import gc
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from kgpud.watchdog import Watchdog

from .platform import Platform

# Twenty milliseconds on a quiet machine; this one may be slow.
LONGEST_SECONDS = 0.1


@asynccontextmanager
async def watched() -> AsyncIterator[Watchdog]:
    dog = Watchdog(look_seconds=0.002)
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(dog.run())
        await asyncio.sleep(0)
        yield dog
        # What has just ended is seen at the next look.
        await asyncio.sleep(0.01)
        looking.cancel()


@pytest.fixture
def little_garbage() -> Iterator[None]:
    """Keep the collector off what other tests of this process have left: that is no request's."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


async def test_a_block_is_noticed() -> None:
    async with watched() as dog:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
    assert dog.blocks == 1
    assert dog.longest >= 0.03


async def test_waiting_is_no_block() -> None:
    async with watched() as dog:
        # As a machine that does something else would let us wait.
        time.sleep(0.05)  # noqa: ASYNC251 - that is the point
    assert dog.blocks == 0


@pytest.mark.usefixtures("little_garbage")
async def test_no_request_blocks_the_loop(platform: Platform) -> None:
    user = await platform.user()
    pod = await platform.rent(user)
    await platform.ready(user, pod)

    def ask(path: str, body: bytes | None = None) -> bytes:
        """Send a request from another thread: the loop is the server's alone."""
        headers = {"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"}
        headers["Accept-Encoding"] = "gzip"
        request = urllib.request.Request(platform.api.root + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as refused:
            return bytes(refused.read())

    exec_path = f"/v1/pods/{pod}/exec"
    encoded = base64.b64encode(bytes(1 << 20)).decode()
    loud = ["sh", "-c", "head -c 1048576 /dev/urandom"]
    heavy = {
        "escaped stdin": json.dumps({"cmd": ["wc"], "stdin": "\1" * (1 << 20)}).encode(),
        "encoded stdin": json.dumps({"cmd": ["wc"], "stdin_base64": encoded}).encode(),
        "output of bytes": json.dumps({"cmd": loud, "output_base64": True}).encode(),
        "many objects": b'{"cmd":[' + b"{}," * 2_500_000 + b"{}]}",
        "many keys": b"{" + b'"":1,' * 9_000 + b'"":1}',
        "many words": json.dumps({"cmd": ["true", *["a" * 30] * 4000]}).encode(),
    }
    longest = {}
    for what, body in heavy.items():
        async with watched() as dog:
            await asyncio.to_thread(ask, exec_path, body)
        longest[what] = dog.longest
    for path in ("/v1/gpu-models", "/v1/pods", "/openapi.json", "/docs/swagger.js"):
        async with watched() as dog:
            await asyncio.to_thread(ask, path)
        longest[path] = dog.longest
    print({what: f"{seconds * 1000:.1f} ms" for what, seconds in longest.items()})  # noqa: T201
    assert max(longest.values()) < LONGEST_SECONDS, longest
