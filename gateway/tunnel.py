"""A way through an HTTP proxy: CONNECT, as RFC 9110, 9.3.6 has it."""

import asyncio
import socket
from urllib.parse import urlsplit

_LONGEST_ANSWER = 16 << 10
_DEFAULT_PORT = 80


async def connect(proxy: str, host: str, port: int) -> socket.socket:
    """Return a socket that leads to `host` through ``http://PROXY:PORT``. Raises OSError.

    Nothing is left open when it is cancelled; the caller bounds the time.
    """
    where = urlsplit(proxy)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        where.hostname or "", where.port or _DEFAULT_PORT, type=socket.SOCK_STREAM
    )
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
        await loop.sock_sendall(sock, head.encode())
        _check(await _answer(sock))
    except BaseException:
        sock.close()
        raise
    return sock


async def _answer(sock: socket.socket) -> bytes:
    """Read the answer's head. Nothing follows it yet: it is the client who speaks first."""
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _LONGEST_ANSWER:
        more = await asyncio.get_running_loop().sock_recv(sock, 4096)
        if not more:
            break
        answer += more
    return answer


def _check(answer: bytes) -> None:
    words = answer.split(b"\r\n", 1)[0].split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or words[1] != b"200":  # noqa: PLR2004
        said = words[1].decode(errors="replace") if len(words) > 1 else "no HTTP"
        raise ConnectionRefusedError(None, f"the proxy refused: {said}")
