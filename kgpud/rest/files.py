"""Sending a large file, by the kernel where it can, never waiting for the disk on the loop.

aiohttp's FileResponse does not know ETags in If-Range (RFC 9110 §13.1.5), and its sendfile reads
from the disk on the event loop, where keystrokes pass.
"""

import asyncio
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

import structlog
from aiohttp import web

from kgpud.errors import Code, UserError
from kgpud.objects.disk import Disk
from kgpud.objects.layout import etag
from kgpud.rest import request_id

log = structlog.get_logger()

# Read ahead from the disk; sent by the kernel without a pause; sent through TLS.
_BLOCK, _TURN, _PIECE = 8 << 20, 512 << 10, 256 << 10
# A reader that takes nothing for so long is cut off; it can go on with a Range.
_STALL_MS = 900_000
_RANGE = re.compile(r"bytes=(?!-$)([0-9]{0,18})-([0-9]{0,18})", re.ASCII | re.IGNORECASE)
_HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, no-transform",
    "Content-Type": "application/octet-stream",
    # It comes from the API's own origin, and could be somebody's page.
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "sandbox",
}


@dataclass(frozen=True)
class _Span:
    start: int
    stop: int
    partial: bool


async def send_file(
    request: web.Request, opened: Callable[[], FileIO | None], disk: Disk
) -> web.StreamResponse:
    """Answer GET and HEAD with a file or a range of it. Raises NOT_FOUND, StoreFailed."""
    file = await disk.do(opened)
    if file is None:
        raise UserError(Code.NOT_FOUND, "nothing was uploaded there, or it is gone")
    with file:
        found = os.fstat(file.fileno())
        mark = f'"{etag(found)}"'
        span = _span(request, found.st_size, mark)
        response = web.StreamResponse(headers=_HEADERS)
        request_id.stamp(request, response)
        response.headers["ETag"] = mark
        response.last_modified = found.st_mtime
        if span is None:
            response.set_status(416)
            response.headers["Content-Range"] = f"bytes */{found.st_size}"
            span = _Span(0, 0, partial=False)
        elif span.partial:
            response.set_status(206)
            where = f"bytes {span.start}-{span.stop - 1}/{found.st_size}"
            response.headers["Content-Range"] = where
        response.content_length = span.stop - span.start
        await response.prepare(request)
        if request.method != "HEAD":
            await _send(request, response, file, span, disk)
        await response.write_eof()
    return response


def _span(request: web.Request, size: int, mark: str) -> _Span | None:
    """Return what is asked for, None if the file has nothing of it (RFC 9110 §14.2)."""
    whole = _Span(0, size, partial=False)
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    # Several ranges, other units, or nonsense: a server may ignore them.
    if asked is None or request.headers.get("If-Range", mark) != mark:
        return whole
    first, last = asked.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return whole
    return _Span(start, stop, partial=True) if start < stop else None


async def _send(
    request: web.Request, response: web.StreamResponse, file: FileIO, span: _Span, disk: Disk
) -> None:
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALL_MS)
    try:
        if transport.get_extra_info("sslcontext") is None:
            await _from_kernel(transport, file, span, disk)
        else:
            await _through_us(response, file, span, disk)
    except OSError as error:
        # The client has gone. It sees that bytes are missing by the Content-Length.
        log.info("download_broken_off", error=type(error).__name__)
        transport.abort()


async def _from_kernel(transport: asyncio.Transport, file: FileIO, span: _Span, disk: Disk) -> None:
    for start in range(span.start, span.stop, _BLOCK):
        stop = min(start + _BLOCK, span.stop)
        await disk.do(partial(_fetch, file, start, stop - start))
        for at in range(start, stop, _TURN):
            if transport.is_closing():
                return
            count = min(_TURN, stop - at)
            await asyncio.get_running_loop().sendfile(transport, file, at, count)
            # A client that takes all of it at once would keep the loop to itself.
            await asyncio.sleep(0)


async def _through_us(response: web.StreamResponse, file: FileIO, span: _Span, disk: Disk) -> None:
    """Send what TLS has to encrypt. asyncio's own way, by 16 KiB, is five times the work."""
    for start in range(span.start, span.stop, _PIECE):
        count = min(_PIECE, span.stop - start)
        await response.write(await disk.do(partial(os.pread, file.fileno(), count, start)))


def _fetch(file: FileIO, start: int, count: int) -> None:
    """Bring a block into the page cache, by sending it nowhere: no byte is copied."""
    with Path(os.devnull).open("wb", buffering=0) as nowhere:
        while sent := os.sendfile(nowhere.fileno(), file.fileno(), start, count):
            start, count = start + sent, count - sent
