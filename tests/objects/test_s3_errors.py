"""Answers of stores that no local server gives: a small one that says what it is told to."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from kgpud.object_settings import S3, Objects
from kgpud.objects.stores import StoreFailed
from tests.objects.servers import credentials
from tests.objects.world import small, world

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What AWS tells of a signature, string to sign and key id included.
AWS = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>m</Message>'
    "<AWSAccessKeyId>AKIDEXAMPLE</AWSAccessKeyId>"
    "<StringToSign>AWS4-HMAC-SHA256 secret</StringToSign></Error>"
)


def saying(status: int, body: str) -> AbstractAsyncContextManager[str]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, content_type="application/xml")

    return serving(answer)


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (403, AWS.format(code="RequestTimeTooSkewed"), "clock_skew", "our clock is wrong"),
        (403, AWS.format(code="SignatureDoesNotMatch"), "denied", "refuses us"),
        (503, AWS.format(code="SlowDown"), "unreachable", "does not answer"),
        (500, AWS.format(code="InternalError"), "unreachable", "does not answer"),
        (400, AWS.format(code="AuthorizationHeaderMalformed"), "failed", "failed"),
        (403, "", "denied", "refuses us"),
        (502, "<html>a proxy's</html>", "unreachable", "does not answer"),
        (503, "", "unreachable", "does not answer"),
        (200, "no XML at all", "failed", "failed"),
        (200, "<other>well formed</other>", "failed", "failed"),
        (301, "", "failed", "failed"),
    ],
)
async def test_what_a_store_says(
    tmp_path: Path,
    status: int,
    body: str,
    kind: str,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with saying(status, body) as endpoint:
        s3 = S3(endpoint=endpoint, bucket="bucket", credentials=credentials(tmp_path))
        async with world(tmp_path, Objects(store="s3", s3=s3)) as here:
            made = await here.call("POST", body={"size_bytes": 10**10})
            assert (made.status, made.code) == (502, "object_store_failed")
            assert told in made.body["detail"]
            # What was not begun is not held either.
            assert (await here.call("GET")).body == []
            with contextlib.suppress(StoreFailed):
                # Nothing else, or it would end the daemon.
                await here.transit.sweep.once()
    log = capsys.readouterr().out
    (failed,) = [line for line in map(json.loads, log.splitlines()) if "exception" in line]
    assert f"StoreFailed: {kind}" in failed["exception"]
    for secret in ("AKIDEXAMPLE", "StringToSign", "wJalrXUtnFEMI"):
        assert secret not in log


async def test_a_store_that_knows_no_versions_has_its_rule_set(tmp_path: Path) -> None:
    """R2 is one of them."""
    rules: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if "lifecycle" not in request.query:
            return web.Response(status=501, text=AWS.format(code="NotImplemented"))
        if request.method == "PUT":
            rules.append(await request.text())
            return web.Response()
        return web.Response(status=404, text=AWS.format(code="NoSuchLifecycleConfiguration"))

    async with serving(answer) as endpoint:
        s3 = S3(endpoint=endpoint, bucket="bucket", credentials=credentials(tmp_path))
        async with world(tmp_path, Objects(store="s3", s3=s3)) as here:
            await here.store.prepare()
    (rule,) = rules
    assert "<Prefix>kgpud/" in rule
    assert "<Days>2</Days>" in rule


class Busy:
    """A store that makes an object of its parts slowly, and lists none of them meanwhile."""

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.sizes: list[int] = []

    async def answer(self, request: web.Request) -> web.Response:
        whole = self.go_on.is_set()
        if request.method == "HEAD":
            size = str(sum(self.sizes))
            head = {"ETag": '"whole"', "Content-Length": size}
            return web.Response(headers=head) if whole else web.Response(status=404)
        if request.method == "POST" and "uploads" in request.query:
            return _xml("InitiateMultipartUploadResult", "<UploadId>one</UploadId>")
        if request.method == "POST":
            self.begun.set()
            await self.go_on.wait()
            return _xml("CompleteMultipartUploadResult", "<ETag>whole</ETag>")
        if "uploadId" not in request.query:
            return _xml("ListBucketResult", "")
        if whole:
            return web.Response(status=404, text=AWS.format(code="NoSuchUpload"))
        sizes = [] if self.begun.is_set() else self.sizes
        lines = [
            f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size><ETag>x</ETag></Part>"
            for number, size in enumerate(sizes, start=1)
        ]
        return _xml("ListPartsResult", "".join(lines))


async def test_nobody_sends_parts_again_while_they_are_put_together(tmp_path: Path) -> None:
    store = Busy()
    async with serving(store.answer) as endpoint:
        s3 = S3(endpoint=endpoint, bucket="bucket", credentials=credentials(tmp_path))
        async with world(tmp_path, small(Objects(store="s3", s3=s3))) as here:
            made = await here.create(size_bytes=7 << 20)
            store.sizes = [part["size_bytes"] for part in made["parts"]]
            complete = f"/{made['object_id']}/complete"
            async with asyncio.TaskGroup() as group:
                first = group.create_task(here.call("POST", complete))
                await store.begun.wait()
                # The first answer was lost: a client asks again.
                again = group.create_task(here.call("POST", complete))
                pending = (await here.get(made)).body
                assert (pending["state"], pending["parts"]) == ("pending", [])
                store.go_on.set()
            for reply in (first.result(), again.result()):
                assert (reply.status, reply.body["state"]) == (200, "ready")


def _xml(name: str, inner: str) -> web.Response:
    text = f"<{name}>{inner}</{name}>"
    return web.Response(text=text, content_type="application/xml")
