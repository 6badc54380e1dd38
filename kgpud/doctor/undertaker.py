"""Removes canaries whose doctor was killed: `python -m kgpud.doctor.undertaker CONFIG POD…`.

It waits for its standard input to end. If the last word was ``done``, there is nothing to do.
"""

import asyncio
import os
import sys
from pathlib import Path

DONE = b"done\n"


def main() -> None:
    """Wait, then remove what is left."""
    config, *names = sys.argv[1:]
    heard = b""
    while some := os.read(0, 4096):
        heard += some
    if heard != DONE:
        asyncio.run(_remove(config, names))


async def _remove(config: str, names: list[str]) -> None:
    # What this leads to takes a second that a run which ends well need not pay.
    from kgpud.cluster.client import Cluster  # noqa: PLC0415
    from kgpud.config import Config, load  # noqa: PLC0415

    settings = load(Path(config)) if config else Config()
    async with Cluster.of(settings.cluster) as cluster:
        for name in names:
            await cluster.delete_pod(name, 0)


if __name__ == "__main__":
    main()
