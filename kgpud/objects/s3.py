"""Any store that speaks S3's API: AWS, Cloudflare R2, SeaweedFS, MinIO.

Objects are `PREFIX/INSTALLATION/KEY` in one bucket.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import structlog

from kgpud.object_settings import S3
from kgpud.objects.s3_client import S3Client
from kgpud.objects.s3_errors import field
from kgpud.objects.stores import Part, Slot, Stored, StoreFailed, Upload, UploadGone

log = structlog.get_logger()

_BLOCK = 1 << 20
# Finishing an upload makes the store copy, or read, all of it.
_FINISH_SECONDS = 600.0
# S3 counts lifetimes in whole days and rounds up: two are never less than our one.
_RULE_DAYS = 2
# Kinds of failure that end without us.
_PASSING = frozenset({"unreachable", "no_bucket", "clock_skew"})


class S3Store:
    """Implements ObjectStore on one bucket."""

    def __init__(self, client: S3Client, settings: S3, installation: str) -> None:
        self._client = client
        self._corner = f"{settings.prefix}/{installation}/"
        self._rule = f"kgpud-{installation}"
        self._sets_rule = settings.lifecycle

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: S3, installation: str) -> AsyncIterator[Self]:
        """Hold a client. Nothing is asked of the store yet, so it may be away."""
        async with S3Client.open(settings) as client:
            yield cls(client, settings, installation)

    async def prepare(self) -> None:
        """Set the lifecycle rule, a net for what we could not delete; tell of kept versions.

        Not every store has these, or lets us have them: R2 has no versions at all.
        """
        with self._optional("objects.versions_unknown"):
            versioning = await self._client.call("get_bucket_versioning")
            if versioning.get("Status") == "Enabled":
                # What we delete would only be hidden.
                log.error("objects.bucket_keeps_versions", bucket=self._client.bucket)
        if self._sets_rule:
            with self._optional("objects.no_lifecycle_rule"):
                await self._set_rule()

    async def check_room(self, size: int) -> None:
        """Do nothing: a bucket is as large as it is paid for."""

    async def put_url(self, key: str, size: int | None, seconds: int) -> str:
        """Return a presigned PUT; the Content-Length is signed if the size is given."""
        length = {} if size is None else {"ContentLength": size}
        return await self._client.url("put_object", seconds, Key=self._corner + key, **length)

    async def get_url(self, key: str, seconds: int) -> str:
        """Return a presigned GET."""
        return await self._client.url("get_object", seconds, Key=self._corner + key)

    async def head(self, key: str) -> Stored | None:
        """Return what lies there."""
        try:
            found = await self._client.call("head_object", Key=self._corner + key)
        except StoreFailed as error:
            # A HEAD has no body, so a status and no reason: ask once more for something with one.
            if error.code.isdecimal():
                await self._client.call("list_objects_v2", Prefix=self._corner + key, MaxKeys=1)
            if error.code != "404":
                raise
            return None
        return _stored(key, found, "ContentLength")

    def read(self, key: str) -> AsyncGenerator[bytes, None]:
        """Return the object's bytes as they come."""
        return self._client.read(self._corner + key, _BLOCK)

    async def delete(self, key: str) -> None:
        """Delete the object."""
        await self._client.call("delete_object", Key=self._corner + key)

    async def list(self) -> Sequence[Stored]:
        """Return everything in our corner."""
        found = await self._client.lines("list_objects_v2", "Contents", Prefix=self._corner)
        return [_stored(self._key(one), one, "Size") for one in found]

    async def begin_upload(self, key: str) -> str:
        """Begin a multipart upload."""
        begun = await self._client.call("create_multipart_upload", Key=self._corner + key)
        return str(field(begun, "UploadId"))

    async def part_url(self, key: str, upload_id: str, slot: Slot, seconds: int) -> str:
        """Return a presigned PUT of one part; its Content-Length is signed."""
        return await self._client.url(
            "upload_part",
            seconds,
            Key=self._corner + key,
            UploadId=upload_id,
            PartNumber=slot.number,
            ContentLength=slot.size,
        )

    async def parts(self, key: str, upload_id: str) -> Sequence[Part]:
        """Return the parts that lie there. Raises UploadGone."""
        try:
            found = await self._client.lines(
                "list_parts", "Parts", Key=self._corner + key, UploadId=upload_id
            )
        except StoreFailed as error:
            raise _gone_or(error) from None
        return [
            Part(field(one, "PartNumber"), field(one, "Size"), field(one, "ETag")) for one in found
        ]

    async def finish_upload(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Complete a multipart upload. Raises UploadGone."""
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        try:
            await self._client.call(
                "complete_multipart_upload",
                _FINISH_SECONDS,
                Key=self._corner + key,
                UploadId=upload_id,
                MultipartUpload={"Parts": listed},
            )
        except StoreFailed as error:
            raise _gone_or(error) from None

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload."""
        try:
            await self._client.call(
                "abort_multipart_upload", Key=self._corner + key, UploadId=upload_id
            )
        except StoreFailed as error:
            if not _is_gone(error):
                raise

    async def uploads(self) -> Sequence[Upload]:
        """Return the open multipart uploads in our corner."""
        try:
            found = await self._client.lines(
                "list_multipart_uploads", "Uploads", Prefix=self._corner
            )
        except StoreFailed as error:
            # rclone's server says so of a bucket that has had none.
            if _is_gone(error):
                return []
            raise
        return [Upload(self._key(one), field(one, "UploadId")) for one in found]

    @contextmanager
    def _optional(self, event: str) -> Iterator[None]:
        """Log what the store does not do for us. StoreFailed passes if it may do it later."""
        try:
            yield
        except StoreFailed as error:
            if error.kind in _PASSING:
                raise
            log.warning(event, bucket=self._client.bucket, cause=str(error))

    async def _set_rule(self) -> None:
        try:
            answer = await self._client.call("get_bucket_lifecycle_configuration")
        except StoreFailed as error:
            if error.code != "NoSuchLifecycleConfiguration":
                raise
            answer = {}
        # The rules are one document, and the others' are not ours to lose.
        rules = answer.get("Rules", [])
        others = [rule for rule in rules if rule.get("ID") != self._rule]
        if any(_prefix(rule) == self._corner for rule in rules if rule not in others):
            return
        ours = {
            "ID": self._rule,
            "Status": "Enabled",
            "Filter": {"Prefix": self._corner},
            "Expiration": {"Days": _RULE_DAYS},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _RULE_DAYS},
        }
        await self._client.call(
            "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [*others, ours]}
        )
        log.info("objects.lifecycle_rule_set", bucket=self._client.bucket, rule=self._rule)

    def _key(self, line: Mapping[str, Any]) -> str:
        return str(field(line, "Key")).removeprefix(self._corner)


def _prefix(rule: Mapping[str, Any]) -> object:
    # Older answers have it beside the filter.
    return rule.get("Filter", {}).get("Prefix", rule.get("Prefix"))


def _stored(key: str, answer: Mapping[str, Any], size: str) -> Stored:
    # Some stores leave the quotes of an ETag out where they list it.
    return Stored(key, field(answer, size), str(field(answer, "ETag")).strip('"'))


def _is_gone(error: StoreFailed) -> bool:
    return error.code in ("NoSuchUpload", "404")


def _gone_or(error: StoreFailed) -> Exception:
    return UploadGone() if _is_gone(error) else error
