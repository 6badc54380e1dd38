"""What the folder store's URLs answer: PUT, and GET with HEAD. The signature is the permission.

As S3 has it: an empty 200 with an ETag for a PUT that is on disk, 411 for one without a length.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from aiohttp import ClientPayloadError, web

from kgpud.errors import Code, UserError
from kgpud.objects.admission import Admission
from kgpud.objects.folder import FolderStore
from kgpud.objects.incoming import Incoming, Stopped
from kgpud.objects.signing import PATH, Grant
from kgpud.objects.telling import told
from kgpud.rest import reading
from kgpud.rest.files import send_file
from kgpud.rest.server import stop_when_gone

Expect = Callable[[web.Request], Coroutine[Any, Any, None]]

_STALL_SECONDS = 60.0


def add_routes(
    app: web.Application, store: FolderStore, admission: Admission, expect: Expect
) -> None:
    """Serve the store's URLs; `expect` leaves ``100 Continue`` to us."""

    async def put(request: web.Request) -> web.StreamResponse:
        # What is whole is kept, even if nobody waits for the answer any more.
        stop_when_gone(request, stops=False)
        grant = _grant(store, request)
        size = _size(request, grant, store.put_bytes)
        try:
            with told():
                # Taken up first: an object that ends meanwhile ends its upload, or is found to be.
                async with (
                    store.receiver.receiving(grant, size) as incoming,
                    admission.admitted(grant, size),
                ):
                    await _take(request, incoming, size)
                    etag = await store.receiver.keep(grant, incoming)
        except Stopped:
            await admission.check(grant.key)
            raise UserError(Code.DUPLICATE, "the same was sent again meanwhile") from None
        return web.Response(headers={"ETag": f'"{etag}"'})

    async def get(request: web.Request) -> web.StreamResponse:
        stop_when_gone(request, stops=True)
        grant = _grant(store, request)
        with told():
            return await send_file(request, partial(store.layout.open, grant.key), store.disk)

    app.router.add_put(PATH, put, expect_handler=expect)
    app.router.add_get(PATH, get, expect_handler=expect)


def _grant(store: FolderStore, request: web.Request) -> Grant:
    key = reading.path(request)["object_id"]
    return store.signer.check(request.method, key, dict(request.query.items()))


def _size(request: web.Request, grant: Grant, most: int) -> int:
    # As S3 has it, a GET would then have to say so, and clients would undo it.
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UserError(Code.UNSUPPORTED_MEDIA_TYPE, "send the bytes without a Content-Encoding")
    size = request.content_length
    if size is None:
        raise UserError(
            Code.LENGTH_REQUIRED,
            "send a Content-Length: use curl's --upload-file with a file's path",
        )
    if grant.size is not None and size != grant.size:
        raise UserError(
            Code.URL_REFUSED, f"this URL takes exactly {grant.size} bytes, not the {size} sent"
        )
    if size > most:
        raise UserError(
            Code.BODY_TOO_LARGE, f"one PUT takes at most {most} bytes: declare size_bytes for parts"
        )
    return size


async def _take(request: web.Request, incoming: Incoming, size: int) -> None:
    # Only now: whoever waits for it need not send what would be refused anyway.
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    try:
        while data := await _some(request):
            await incoming.write(data)
    except TimeoutError:
        raise UserError(Code.UPLOAD_STALLED, "nothing came for a minute; send it again") from None
    except (web.RequestPayloadError, ClientPayloadError, ConnectionError):
        raise UserError(Code.BAD_REQUEST, "the body ended early; nothing of it is kept") from None
    if incoming.written != size:
        raise UserError(Code.BAD_REQUEST, "the body ended early; nothing of it is kept")


async def _some(request: web.Request) -> bytes:
    async with asyncio.timeout(_STALL_SECONDS):
        return await request.content.readany()
