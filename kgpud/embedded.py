"""The local cluster as a child process that lives and dies with the daemon."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kgpud.config import Address
from kgpud.statefolder import open_log

START_SECONDS = 30.0
STOP_SECONDS = 15.0


class EmbeddedFailed(Exception):
    """The local cluster did not start or ended by itself. The text is its own last words."""


class LocalCluster:
    """A running local cluster: `kubeconfig` leads to it, `gpu_models` are what its nodes have."""

    def __init__(
        self, process: asyncio.subprocess.Process, log: Path, said: Mapping[str, Any]
    ) -> None:
        self._process = process
        self._log = log
        self.kubeconfig = Path(said["kubeconfig"])
        self.gpu_models: Sequence[str] = said["gpu_models"]

    async def watch(self) -> None:
        """Return never; raise EmbeddedFailed if the cluster ends by itself."""
        code = await self._process.wait()
        raise EmbeddedFailed(f"the local cluster ended with code {code}; see {self._log}")


@asynccontextmanager
async def local_cluster(
    state: Path, *, fleet: Path | None, reach: Address
) -> AsyncIterator[LocalCluster]:
    """Run a local cluster in `state`; pods reach `reach` at its own address.

    It ends when its standard input closes, so even a SIGKILL of ours leaves nothing behind.
    Raises EmbeddedFailed if it can't start, with its remedy.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = state / "cluster.log"
    arguments = ["--state", str(state), "--reach", str(reach), "--die-with-stdin"]
    if fleet is not None:
        arguments += ["--fleet", str(fleet)]
    with open_log(log, os.O_TRUNC) as said:
        # A session of its own: Ctrl-C is for the daemon, which ends it in its turn.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kgpud.localcluster",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield LocalCluster(process, log, await _ready(process, log))
    finally:
        await _stop(process)


async def _ready(process: asyncio.subprocess.Process, log: Path) -> Mapping[str, Any]:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            line = await process.stdout.readline()
    except TimeoutError:
        raise EmbeddedFailed(f"the local cluster did not start; see {log}") from None
    if not line:
        words = log.read_text(errors="replace").strip()
        raise EmbeddedFailed(words or "the local cluster ended without a word")
    said: Mapping[str, Any] = json.loads(line)
    return said


async def _stop(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
