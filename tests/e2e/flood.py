"""Connections that never log in, by the hundred, until stdin ends: python -m tests.e2e.flood PORT.

They stop at every stage: before the first word, after the version, in the key exchange, before a
key is shown. Dropped ones come again at once.
"""

import asyncio
import random
import sys

from tests.gateway.raw_client import Closed, RawClient

AT_ONCE = 400
SOURCES = [f"127.0.1.{n}" for n in range(1, 41)]
HOLD_SECONDS = 1.0


async def silent(port: int, source: str) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        await asyncio.sleep(HOLD_SECONDS)
    finally:
        writer.transport.abort()


async def after_the_version(port: int, source: str) -> None:
    async with RawClient.connected(port, source=source) as client:
        await asyncio.sleep(random.random())
        await client.send(client.kexinit())
        await asyncio.sleep(HOLD_SECONDS)


async def before_a_key(port: int, source: str) -> None:
    async with RawClient.ready(port, source=source):
        await asyncio.sleep(HOLD_SECONDS)


async def attack(port: int, number: int) -> None:
    stage = (silent, after_the_version, before_a_key)[number % 3]
    while True:
        try:
            await stage(port, random.choice(SOURCES))
        except (OSError, Closed, TimeoutError):
            await asyncio.sleep(0.2)


async def main() -> None:
    port = int(sys.argv[1])
    async with asyncio.TaskGroup() as tasks:
        attackers = [tasks.create_task(attack(port, number)) for number in range(AT_ONCE)]
        await asyncio.sleep(1.0)
        print("flooding", flush=True)  # noqa: T201 - for the test that waits for it
        await asyncio.to_thread(sys.stdin.read)
        for task in attackers:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
