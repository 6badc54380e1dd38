"""How long 32 pods take to be ready when they are asked for at once, on the local cluster."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from tests.localcluster.clusters import Api, running

_PODS = 32


async def _seconds(url: str, token: str) -> float:
    headers = {"Authorization": f"Bearer {token}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:
        api = Api(session)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(_PODS):
                group.create_task(api.ready(f"pod-{number}"))
        return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as cluster:
        took = asyncio.run(_seconds(cluster.url, cluster.token))
    sys.stdout.write(f"{_PODS} pods at once: ready after {took:.2f} s\n")


if __name__ == "__main__":
    main()
