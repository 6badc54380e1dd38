"""A cluster that ends while its pods are starting leaves none of them behind."""

import asyncio
import secrets
import signal
from pathlib import Path

import aiohttp
import pytest

from .clusters import Api, pod, running, until


def _marked(mark: str) -> list[int]:
    """Return every process on this machine whose environment has the mark, whoever its parent."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = path.read_bytes()
        except OSError:
            continue
        if mark.encode() in environment:
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_stays(tmp_path: Path, number: signal.Signals) -> None:
    mark = secrets.token_hex(16)
    env = [{"name": "MARK", "value": mark}]
    for turn in range(6):
        with running(tmp_path / str(turn)) as cluster:
            headers = {"Authorization": f"Bearer {cluster.token}"}
            async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
                for name in "abcdef":
                    await Api(session).call("POST", "pods", pod(name, env=env))
            # Not a wait for anything: it spreads the blows over the life of a start.
            await asyncio.sleep(turn * 0.015)
            cluster.stop(number)
    await until(lambda: not _marked(mark))
