"""Readiness probes: a command, a connection or an HTTP request in the pod, again and again."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kgpud.localcluster.errors import ExecRefusedError, SandboxError
from kgpud.localcluster.exec_pipes import SMALL_PIPE, Pipes
from kgpud.localcluster.sandbox import Sandbox

_SAID_LIMIT = 10 * 1024
_STATUS_LINE_BYTES = 1024
_GOOD_STATUS = range(200, 400)


class ProbeFailure(Exception):
    """The probe failed; the text is what the kubelet's Event says after its first words."""


@dataclass(frozen=True)
class Target:
    """Whom to probe: a running container, by the address of its pod."""

    sandbox: Sandbox
    container: Mapping[str, Any]
    pod_ip: str


def wanted(container: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the readiness probe; None when the container is ready as soon as it runs."""
    probe: Mapping[str, Any] = container.get("readinessProbe") or {}
    return probe if any(kind in probe for kind in ("exec", "tcpSocket", "httpGet")) else None


async def attend(
    target: Target,
    set_ready: Callable[[bool], None],
    unhealthy: Callable[[str], None],
) -> None:
    """Probe after the initial delay and then every period, until the sandbox is gone."""
    probe = wanted(target.container)
    assert probe is not None
    await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
    streak, last = 0, False
    while not target.sandbox.gone.done():
        try:
            await _once(target, probe)
            passed = True
        except SandboxError:
            return
        # No descriptor is left, or a host that is no name: nothing of it may end the pod.
        except (ProbeFailure, OSError, ValueError) as failure:
            passed = False
            unhealthy(f"Readiness probe failed: {failure}")
        streak = streak + 1 if passed == last else 1
        last = passed
        if streak >= probe["successThreshold" if passed else "failureThreshold"]:
            set_ready(passed)
        await asyncio.sleep(probe["periodSeconds"])


async def _once(target: Target, probe: Mapping[str, Any]) -> None:
    within = float(probe["timeoutSeconds"])
    if command := (probe.get("exec") or {}).get("command"):
        await _execute(target.sandbox, command, within)
    elif http := probe.get("httpGet"):
        await _get(target, http, within)
    else:
        async with _connection(target, probe["tcpSocket"], within):
            pass


async def _execute(sandbox: Sandbox, command: list[str], within: float) -> None:
    try:
        code, said = await _run(sandbox, command, within)
    except ExecRefusedError as refused:
        raise ProbeFailure(str(refused)) from None
    if code is None:
        raise ProbeFailure(f'command timed out: "{" ".join(command)}" timed out after {within:g}s')
    if code != 0:
        raise ProbeFailure(said)


async def _run(sandbox: Sandbox, argv: list[str], within: float) -> tuple[int | None, str]:
    """Run a command without input; return its code and the first 10 KiB it has written.

    The code is None if it took more than `within` seconds; then it has been killed.
    """
    loop, said = asyncio.get_running_loop(), bytearray()
    with Pipes(stdin=False, stdout=True, stderr=False, owner=sandbox.uid) as pipes:
        (nothing, written, _nothing), output = pipes.theirs, pipes.stdout
        assert output is not None
        loop.add_reader(output, _keep_first, output, said)
        try:
            running = await sandbox.execute(argv, [nothing, written, written])
            async with asyncio.timeout(within):
                code = await asyncio.shield(running.code)
            _keep_first(output, said)
            return code, said.decode(errors="replace")
        except TimeoutError:
            await sandbox.kill_command(running)
            return None, ""
        finally:
            loop.remove_reader(output)


def _keep_first(output: int, said: bytearray) -> None:
    """Read once, keeping what comes first: a command that writes on and on waits its turn."""
    with contextlib.suppress(BlockingIOError):
        said += os.read(output, SMALL_PIPE)[: _SAID_LIMIT - len(said)]


@contextlib.asynccontextmanager
async def _connection(
    target: Target, action: Mapping[str, Any], within: float
) -> AsyncIterator[socket.socket]:
    host, port = action.get("host") or target.pod_ip, _port(target.container, action["port"])
    connected = await target.sandbox.open_socket()
    with connected:
        try:
            async with asyncio.timeout(within):
                await asyncio.get_running_loop().sock_connect(connected, (host, port))
        except TimeoutError:
            raise ProbeFailure(f"dial tcp {host}:{port}: i/o timeout") from None
        except OSError as error:
            words = os.strerror(error.errno or 0).lower()  # asyncio puts its own in strerror
            raise ProbeFailure(f"dial tcp {host}:{port}: connect: {words}") from None
        yield connected


async def _get(target: Target, action: Mapping[str, Any], within: float) -> None:
    path, port = action.get("path") or "/", _port(target.container, action["port"])
    url = f"http://{action.get('host') or target.pod_ip}:{port}{path}"
    try:
        async with asyncio.timeout(within), _connection(target, action, within) as connected:
            status = await _status(connected, path, f"{target.pod_ip}:{port}")
    except (TimeoutError, OSError, ValueError) as error:
        words = "context deadline exceeded" if isinstance(error, TimeoutError) else str(error)
        raise ProbeFailure(f'Get "{url}": {words}') from None
    except ProbeFailure as failure:
        raise ProbeFailure(f'Get "{url}": {failure}') from None
    if status not in _GOOD_STATUS:
        raise ProbeFailure(f"HTTP probe failed with statuscode: {status}")


async def _status(connected: socket.socket, path: str, host: str) -> int:
    """Ask for `path`; return the answer's status. ValueError when the answer is not HTTP."""
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: kube-probe/1.36\r\n"
    await loop.sock_sendall(
        connected, f"{request}Accept: */*\r\nConnection: close\r\n\r\n".encode()
    )
    answer = b""
    while b"\n" not in answer and len(answer) < _STATUS_LINE_BYTES:
        part = await loop.sock_recv(connected, _STATUS_LINE_BYTES)
        if not part:
            break
        answer += part
    words = answer.split(b"\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):  # noqa: PLR2004
        raise ValueError("malformed HTTP response")
    return int(words[1])


def _port(container: Mapping[str, Any], port: int | str) -> int:
    """Return a port's number; a name is looked up among the container's ports."""
    if isinstance(port, int):
        return port
    for one in container.get("ports") or []:
        if one.get("name") == port:
            return int(one["containerPort"])
    raise ProbeFailure(f'couldn\'t find port "{port}"')
