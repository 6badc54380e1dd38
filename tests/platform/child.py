"""`kgpud serve` as a child process, on a cluster that the test itself plays."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from kgpud.accounts import Accounts
from kgpud.clock import SystemClock
from kgpud.tokens import Tokens, load_or_create_secret
from store.db import Database

CONFIG = """\
state = "{state}"
[http]
listen = "127.0.0.1:0"
[ssh]
listen = "127.0.0.1:0"
[cluster]
kubeconfig = "{kubeconfig}"
[drain]
seconds = 0
"""
BOUND = 20.0


@dataclass
class Child:
    """The daemon, its log so far, and a client of its API."""

    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    root: str = ""
    ssh_port: int = 0
    log: list[str] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(
        self, method: str, path: str, token: str, *, key: str | None = None, **body: Any
    ) -> tuple[int, Any]:
        """Call the API; return status and decoded answer."""
        headers = {"Authorization": f"Bearer {token}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        options: dict[str, Any] = {"json": body} if method in {"POST", "PATCH"} else {}
        async with self.session.request(
            method, self.root + path, headers=headers, **options
        ) as response:
            return response.status, await response.json(content_type=None)

    async def eventually(
        self, path: str, token: str, true: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Ask until something is true of the answer; return it."""
        async with asyncio.timeout(BOUND):
            while True:
                _, answer = await self.call("GET", path, token)
                if true(answer):
                    return dict(answer)
                await asyncio.sleep(0.05)

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = (json.loads(line) for line in self.log if line.startswith("{"))
        return [line for line in lines if line["event"] == event]

    async def until_said(self, event: str, times: int = 1) -> None:
        """Wait until the log has the event so often."""
        async with asyncio.timeout(BOUND):
            while len(self.said(event)) < times:
                self._more.clear()
                await self._more.wait()

    async def kill(self) -> None:
        """Kill it, as the kernel would."""
        self.process.kill()
        await self.process.wait()

    async def _read(self) -> None:
        assert self.process.stderr
        async for line in self.process.stderr:
            text = line.decode().rstrip()
            self.log.append(text)
            if found := re.fullmatch(r"kgpud serves (http\S+)/v1 and ssh on \S+:(\d+)", text):
                self.root, self.ssh_port = found[1] + "/v1", int(found[2])
            self._more.set()
        self._more.set()

    async def _ready(self) -> None:
        async with asyncio.timeout(BOUND):
            while not self.root:
                self._more.clear()
                assert self.process.returncode is None, self.log
                await self._more.wait()


@asynccontextmanager
async def serving(state: Path, kubeconfig: Path) -> AsyncIterator[Child]:
    """Run the daemon on a state folder and a cluster."""
    config = kubeconfig.with_name("kgpud.toml")
    config.write_text(CONFIG.format(state=state, kubeconfig=kubeconfig))
    argv = [sys.executable, "-m", "kgpud", "serve", "--config", str(config)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stderr=pipe)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        child = Child(process, session)
        group.create_task(child._read())
        try:
            await child._ready()
            yield child
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(BOUND):
                await process.wait()


async def sign_up(state: Path, email: str = "a@example.org") -> str:
    """Make an approved account beside whoever runs; return its token.

    As `kgpud user` does it, without a process for each of its commands.
    """
    clock = SystemClock()
    state.mkdir(mode=0o700, exist_ok=True)
    async with Database.open(state / "kgpud.sqlite3") as db:
        accounts = Accounts(db, clock, trial_credits=100_000, quota_gpus=4, quota_cpu_pods=4)
        account = await accounts.add(email, email, who="test")
        await accounts.approve(email, "test")
        secret = load_or_create_secret(state / "secret.key")
        return await Tokens(db, clock, secret=secret).issue(account.account_id)
