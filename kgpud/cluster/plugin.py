"""Credential plugins of a kubeconfig: programs that print a token or a client certificate.

The protocol is client.authentication.k8s.io's ExecCredential, v1 and v1beta1.
"""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

SECONDS = 30.0
_MOST_BYTES = 1 << 20
_API = "client.authentication.k8s.io/"


class PluginFailed(Exception):
    """A credential plugin gave no credential. The text never holds what it printed."""


@dataclass(frozen=True)
class Credential:
    """What a plugin printed. `expires_at` is seconds since the epoch, None if it did not say."""

    token: str | None = field(repr=False)
    certificate: str | None
    key: str | None = field(repr=False)
    expires_at: float | None


async def run(spec: Mapping[str, Any], cluster: Mapping[str, Any], *, seconds: float) -> Credential:
    """Run the plugin that a user's ``exec`` names, for so many seconds. Raises PluginFailed.

    `cluster` is the kubeconfig's entry, which it may ask for with ``provideClusterInfo``.
    """
    version = str(spec.get("apiVersion", ""))
    if not version.startswith(_API) or not spec.get("command"):
        raise PluginFailed(f"its exec needs a command and an apiVersion of {_API}…")
    argv = [str(spec["command"]), *map(str, spec.get("args") or ())]
    try:
        async with asyncio.timeout(seconds):
            printed = await _printed(argv, _environment(spec, cluster))
    except TimeoutError:
        raise PluginFailed(f"{argv[0]} was not done after {seconds:.0f} s") from None
    except OSError as error:
        raise PluginFailed(f"{argv[0]} can't be run: {error.strerror}") from None
    try:
        return _read(json.loads(printed), version)
    except (ValueError, TypeError, AttributeError):
        raise PluginFailed(f"{argv[0]} printed no ExecCredential of {version}") from None


async def _printed(argv: list[str], env: dict[str, str]) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        limit=_MOST_BYTES,
        # Its children go with it.
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        printed = await process.stdout.read(_MOST_BYTES)
        while more := await process.stdout.read(_MOST_BYTES):
            printed = (printed + more)[:_MOST_BYTES]
        code = await process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if code:
        raise PluginFailed(f"{argv[0]} ended with {code}: see its words on stderr")
    return printed


def _environment(spec: Mapping[str, Any], cluster: Mapping[str, Any]) -> dict[str, str]:
    asked: dict[str, Any] = {"interactive": False}
    if spec.get("provideClusterInfo"):
        asked["cluster"] = dict(cluster)
    info = {"apiVersion": spec["apiVersion"], "kind": "ExecCredential", "spec": asked}
    added = {str(one["name"]): str(one["value"]) for one in spec.get("env") or ()}
    return {**os.environ, **added, "KUBERNETES_EXEC_INFO": json.dumps(info)}


def _read(printed: Mapping[str, Any], version: str) -> Credential:
    status = printed["status"] if printed.get("apiVersion") == version else {}
    token, certificate = status.get("token"), status.get("clientCertificateData")
    key, expires = status.get("clientKeyData"), status.get("expirationTimestamp")
    if not token and not (certificate and key):
        raise ValueError("neither a token nor a certificate with its key")
    until = datetime.fromisoformat(expires).timestamp() if expires else None
    return Credential(token, certificate, key, until)
