"""The front doors as users come to them: the API's URL with its certificate, and the bastion."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from kgpud import statefolder
from kgpud.cluster import policies
from kgpud.cluster.verdicts import why_unconnected
from kgpud.doctor.findings import Finding, fail, ok, skip, warn
from kgpud.doctor.patient import Patient

_SECONDS = aiohttp.ClientTimeout(total=10, connect=5)
_SOON_MS = 14 * 86_400_000
_DAY_MS = 86_400_000
_LET_IN = "let users reach the proxy, and name it in DNS"


def _runs(state: Path) -> bool:
    try:
        return statefolder.owner(state) is not None
    except OSError:
        return False


async def api(patient: Patient) -> AsyncIterator[Finding]:
    """Ask the API for its menu, as a user who has only read the quick start."""
    config = patient.config
    if not config.public_url and not _runs(config.state):
        yield skip("API", "the daemon does not run, and public_url is not set")
        return
    base = config.api_base(config.http.listen)
    try:
        async with (
            aiohttp.ClientSession(trust_env=False, timeout=_SECONDS) as session,
            session.get(f"{base}/gpu-models") as response,
        ):
            menu = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        said = _why(error)
        remedy = "start the daemon, and let the proxy in front of it pass everything on"
        yield fail("API", f"{base}: {said}", remedy)
        return
    if response.status != 200 or not isinstance(menu, list):  # noqa: PLR2004 - HTTP
        remedy = "whoever answers there is not kgpud: look at the proxy and at public_url"
        yield fail("API", f"{base}/gpu-models: HTTP {response.status}", remedy)
        return
    yield ok("API", f"{base} answers, {len(menu)} classes on the menu")


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, aiohttp.ClientConnectorError):
        return why_unconnected(error.os_error)
    return str(error) or type(error).__name__


async def tls(patient: Patient) -> AsyncIterator[Finding]:
    """Look at the certificate that users' clients meet."""
    config = patient.config
    url = urlsplit(config.public_url)
    if not config.public_url:
        yield skip("TLS", "public_url is not set")
        return
    if url.scheme != "https":
        remedy = "put a proxy with a certificate in front of it: tokens travel in its headers"
        yield warn("TLS", f"{config.public_url} is not encrypted", remedy)
        return
    address = policies.of_url(config.public_url)
    assert address is not None
    try:
        until = await _valid_until(address.host, address.port)
    except OSError as error:
        tls = isinstance(error, ssl.SSLError)
        remedy = "renew the certificate, with its whole chain" if tls else _LET_IN
        yield fail("TLS", f"{address}: {why_unconnected(error)}", remedy)
        return
    days = (until - patient.clock.now_ms()) // _DAY_MS
    if until - patient.clock.now_ms() < _SOON_MS:
        yield warn("TLS", f"the certificate ends in {days} days", "renew it")
    else:
        yield ok("TLS", f"{address}: valid for {days} days")


async def _valid_until(host: str, port: int) -> int:
    """Return when the certificate that is shown ends, as milliseconds since the epoch."""
    _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
    try:
        shown = writer.get_extra_info("peercert")
        return int(ssl.cert_time_to_seconds(shown["notAfter"])) * 1000
    finally:
        writer.transport.abort()


async def bastion(patient: Patient) -> AsyncIterator[Finding]:
    """Hear the bastion's greeting where users are told that it is."""
    config = patient.config
    address = config.ssh_address(config.ssh.listen)
    told = bool(config.public_url or config.ssh_host)
    if not told and not _runs(config.state):
        yield skip("bastion", "the daemon does not run, and no address is set for it")
        return
    remedy = "start the daemon, and let users reach it: ssh_host, ssh_port, firewalls"
    try:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    except OSError as error:
        yield fail("bastion", f"{address}: {why_unconnected(error)}", remedy)
        return
    try:
        greeting = await reader.readline()
    except (OSError, ValueError):
        greeting = b""
    finally:
        writer.transport.abort()
    if greeting.startswith(b"SSH-2.0-"):
        yield ok("bastion", f"{address} answers as {greeting.decode(errors='replace').strip()}")
    else:
        yield fail("bastion", f"{address} does not speak SSH", remedy)
