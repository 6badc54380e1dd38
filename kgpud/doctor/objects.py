"""The store of transit objects: put, get and delete, as a user's curl does it."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator

import aiohttp

from kgpud.config import Config
from kgpud.doctor.findings import Finding, fail, ok, skip, warn
from kgpud.doctor.patient import Patient
from kgpud.objects.s3 import S3Store
from kgpud.objects.stores import ObjectStore, StoreFailed

_GB = 10**9
_SIZE = 64 << 10
_SECONDS = 300
_TIMEOUT = aiohttp.ClientTimeout(total=20, connect=5)
_REMEDY = {
    "denied": "give the key read, write, list and delete on the bucket",
    "clock_skew": "run chrony or systemd-timesyncd here: signatures are dated",
    "no_bucket": "make the bucket, or mend objects.s3.bucket and region",
    "unreachable": "mend objects.s3.endpoint, or the way there",
}


async def transit(patient: Patient) -> AsyncIterator[Finding]:
    """Put an object, get it, delete it: in a corner of the bucket that is the doctor's own."""
    settings = patient.config.objects
    if settings.store == "s3":
        async with S3Store.open(settings.s3, f"doctor-{secrets.token_hex(4)}") as store:
            yield await _tried(store, f"bucket {settings.s3.bucket}")
    elif settings.store == "folder":
        yield _folder(patient.config)
    else:
        yield skip("objects", "there is no store: objects.store is none")


async def _tried(store: ObjectStore, name: str) -> Finding:
    try:
        try:
            return await _round(store, name)
        finally:
            await store.delete("canary")
    except StoreFailed as error:
        remedy = _REMEDY.get(error.kind, "look for the code in the store's documentation")
        return fail("objects", f"{name}: {error}", remedy)
    except (aiohttp.ClientError, TimeoutError) as error:
        said = f"{name}: its presigned URLs don't work: {type(error).__name__}"
        return fail("objects", said, _REMEDY["unreachable"])


async def _round(store: ObjectStore, name: str) -> Finding:
    data = os.urandom(_SIZE)
    async with aiohttp.ClientSession(trust_env=False, timeout=_TIMEOUT) as session:
        url = await store.put_url("canary", len(data), _SECONDS)
        async with session.put(url, data=data) as response:
            put = response.status
        async with session.get(await store.get_url("canary", _SECONDS)) as response:
            got = await response.read()
    if got != data:
        remedy = "look at the bucket's policy, and for a proxy that changes requests"
        return fail("objects", f"{name}: PUT said {put}, and GET gave something else", remedy)
    await store.delete("canary")
    if await store.head("canary") is not None:
        return fail("objects", f"{name}: what is deleted stays", _REMEDY["denied"])
    return ok("objects", f"{name}: put, get and delete")


def _folder(config: Config) -> Finding:
    folder = config.objects.folder.path or config.state / "objects"
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    if not os.access(there, os.W_OK | os.X_OK):
        return fail("objects", f"{there} can't be written", "let the daemon's user write there")
    free = shutil.disk_usage(there).free // _GB
    if free < config.objects.folder.min_free_gb + 1:
        remedy = "make room, or put objects on another disk: objects.folder.path"
        return warn("objects", f"{free} GB are left where {folder} is: uploads are refused", remedy)
    return ok("objects", f"folder {folder}, {free} GB free")
