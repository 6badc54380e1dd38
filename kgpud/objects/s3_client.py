"""One bucket through aioboto3: every call bounded in time, every failure a StoreFailed."""
# ruff: noqa: ANN401 - botocore makes its calls from data, so nothing of them is typed

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Self

from kgpud.object_settings import S3
from kgpud.objects import s3_errors

_CONNECT_SECONDS, _READ_SECONDS = 3, 10
# A call with its retry.
_CALL_SECONDS = 30.0
# Lines of a list at a time. Reading the usual 1,000 would keep the loop for 46 ms, these for 4.
_PAGE = 100


class S3Client:
    """Calls on one bucket. Each is named as botocore names it and raises StoreFailed."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: S3) -> AsyncIterator[Self]:
        """Hold a client. Nothing is asked of the store yet, so it may be away.

        Raises OSError if the credentials' file can't be read.
        """
        # Only who has such a store waits for these: they take a quarter of a second.
        from aioboto3 import Session  # noqa: PLC0415
        from aiobotocore.config import AioConfig  # noqa: PLC0415
        from aiobotocore.session import AioSession  # noqa: PLC0415

        config = AioConfig(
            signature_version="s3v4",
            s3={"addressing_style": settings.addressing},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"total_max_attempts": 2, "mode": "standard"},
            # Checksums would be signed into URLs, and many stores know nothing of them.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        inner = AioSession()
        if settings.credentials is not None:
            # Botocore would look elsewhere, and find nothing, or others.
            settings.credentials.open("rb").close()
            inner.set_config_variable("credentials_file", str(settings.credentials))
        session = Session(botocore_session=inner, region_name=settings.region)
        endpoint = settings.endpoint or None
        async with session.client("s3", endpoint_url=endpoint, config=config) as client:
            client.meta.events.register("before-call.s3.HeadBucket", _follow_no_more)
            yield cls(client, settings.bucket)

    async def call(self, name: str, seconds: float = _CALL_SECONDS, **parameters: Any) -> Any:
        """Make a call; return what it answers."""
        made = getattr(self._client, name)(Bucket=self.bucket, **parameters)
        return await self._bounded(made, seconds)

    async def url(self, name: str, seconds: int, **parameters: Any) -> str:
        """Return a presigned URL for a call, good for so many seconds."""
        # Signing takes a millisecond, and an object may have a thousand parts: let others in.
        await asyncio.sleep(0)
        given = {"Bucket": self.bucket, **parameters}
        made = self._client.generate_presigned_url(name, Params=given, ExpiresIn=seconds)
        return str(await self._bounded(made))

    async def lines(self, name: str, lines: str, **parameters: Any) -> list[Any]:
        """Return what a call lists under `lines`, from all its pages."""
        pages = self._client.get_paginator(name).paginate(
            Bucket=self.bucket, PaginationConfig={"PageSize": _PAGE}, **parameters
        )
        turning = aiter(pages)
        found: list[Any] = []
        while True:
            try:
                page = await self._bounded(anext(turning))
            except StopAsyncIteration:
                return found
            found += page.get(lines, [])

    async def read(self, key: str, block: int) -> AsyncGenerator[bytes, None]:
        """Yield an object's bytes."""
        body = s3_errors.field(await self.call("get_object", Key=key), "Body")
        async with body:
            while data := await self._bounded(body.read(block)):
                yield data

    async def _bounded(self, work: Awaitable[Any], seconds: float = _CALL_SECONDS) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await work
        except s3_errors.everything() as error:
            raise s3_errors.translated(error) from None


def _follow_no_more(params: dict[str, Any], **_: object) -> None:
    """Mark what botocore sends to ask where a bucket is after a redirect: it is not followed again.

    Else what redirects everything, as a proxy to https does, is asked a few hundred times in a go.
    """
    params["context"].setdefault("s3_redirect", {})["redirected"] = True
