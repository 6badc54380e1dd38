"""Opening a websocket to the API server."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from gateway import tunnel, websocket
from gateway.buffers import Incoming
from gateway.frames import V4, V5
from gateway.link import Link, LinkRefused
from gateway.protocols import ApiServer

CONNECT_SECONDS = 30.0
# For the connection itself, TLS included: an address whose machine is off answers nothing at all.
_REACH_SECONDS = 10.0


class Unreached(LinkRefused):
    """There was no connection, so the API server has seen nothing of the request."""


async def connect(
    server: ApiServer, path: str, query: list[tuple[str, str]], incoming: Incoming
) -> tuple[Link, str]:
    """Open a websocket; return it, reading paused until `start`, and the sub-protocol chosen.

    Raises LinkRefused: Unreached if nothing was asked. Nothing is left open when it is cancelled.
    """
    url = urlsplit(server.url)
    key = websocket.new_key()
    target = f"{url.path.rstrip('/')}{path}?{urlencode(query)}"
    head = _request_head(target, url, key, server)
    link = await _reach(server, url, lambda: Link(head, websocket.accept_for(key), incoming))
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return link, await link.upgraded
    except TimeoutError:
        link.close()
    except BaseException:
        link.close()
        raise
    raise LinkRefused(0, f"the API server did not answer in {CONNECT_SECONDS:.0f} s")


async def _reach(server: ApiServer, url: SplitResult, new_link: Callable[[], Link]) -> Link:
    try:
        async with asyncio.timeout(_REACH_SECONDS):
            _, link = await asyncio.get_running_loop().create_connection(
                new_link,
                **await _way(server, url),
                ssl=server.ssl,
                server_hostname=(server.server_name or url.hostname) if server.ssl else None,
            )
            return link
    except TimeoutError:
        why = f"no connection in {_REACH_SECONDS:.0f} s"
    except OSError as error:
        why = _why(error)
    raise Unreached(0, f"the API server can't be reached ({why})")


def _why(error: OSError) -> str:
    # asyncio has words of its own in strerror; TLS and the resolver have numbers of their own.
    if error.errno and not isinstance(error, ssl.SSLError | socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)


async def _way(server: ApiServer, url: SplitResult) -> dict[str, Any]:
    """Return where to connect, as `create_connection` takes it. Raises OSError."""
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    if server.proxy is None:
        return {"host": host, "port": port}
    return {"sock": await tunnel.connect(server.proxy, host, port)}


def _request_head(target: str, url: SplitResult, key: str, server: ApiServer) -> bytes:
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {url.netloc.rpartition('@')[2]}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {V5}, {V4}",
        *(f"{name}: {value}" for name, value in server.headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
