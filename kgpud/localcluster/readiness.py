"""The readiness probe of a pod: a command in it, again and again."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from kgpud.localcluster.errors import ExecRefusedError, SandboxError
from kgpud.localcluster.sandbox import Sandbox


def command(container: Mapping[str, Any]) -> list[str] | None:
    """Return the probe's command; None when the container is ready as soon as it runs."""
    probe = container.get("readinessProbe") or {}
    found: list[str] | None = (probe.get("exec") or {}).get("command")
    return found


async def probe(
    sandbox: Sandbox,
    container: Mapping[str, Any],
    set_ready: Callable[[bool], None],
    unhealthy: Callable[[], None],
) -> None:
    """Probe at once and then every period, until the sandbox is gone."""
    wanted, argv = container["readinessProbe"], command(container)
    assert argv is not None
    await asyncio.sleep(wanted.get("initialDelaySeconds") or 0)
    failures = 0
    while not sandbox.gone.done():
        try:
            passed = await sandbox.run(argv, wanted["timeoutSeconds"]) == 0
        except ExecRefusedError:
            passed = False
        except SandboxError:
            return
        failures = 0 if passed else failures + 1
        if passed or failures >= wanted["failureThreshold"]:
            set_ready(passed)
        if not passed:
            unhealthy()
        await asyncio.sleep(wanted["periodSeconds"])
