"""What users and the sweep see, alike on every store."""

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from kgpud.clock import parse_rfc3339
from kgpud.object_settings import Objects
from kgpud.objects.plan import DAY_MS, GB, UNDECLARED_BYTES
from tests.objects.world import World, random_bytes, sha256, small, world

HOUR = 3600
MB = 10**6
# What depends on the store but little: rclone's opinion of it is asked in the soak.
mostly_ours = pytest.mark.parametrize(
    "settings",
    ["folder", "seaweedfs", pytest.param("rclone", marks=pytest.mark.slow)],
    indirect=True,
)


async def test_round_trip(here: World) -> None:
    data = random_bytes(300_000)
    made = await here.create(label="mit-bih")
    assert made["state"] == "pending"
    assert (await here.get(made)).body["get_url"] is None
    assert await here.put(made["put_url"], data) == 200
    got = (await here.get(made)).body
    assert (got["state"], got["size_bytes"], got["label"]) == ("ready", 300_000, "mit-bih")
    assert got["etag"]
    for _ in range(2):
        assert await here.raw("GET", got["get_url"]) == (200, data)
    listed = (await here.call("GET")).body
    assert [(o["object_id"], o["state"]) for o in listed] == [(made["object_id"], "ready")]
    gone = await here.call("DELETE", f"/{made['object_id']}")
    assert (gone.status, gone.body["state"]) == (200, "deleted")
    assert (await here.call("DELETE", f"/{made['object_id']}")).body == gone.body
    assert (await here.raw("GET", got["get_url"]))[0] == 404
    assert ((await here.get(made)).status, (await here.get(made)).code) == (410, "object_deleted")
    assert await here.stored() == set()


@mostly_ours
async def test_shape_of_the_answers(here: World) -> None:
    declared = {"label": "x", "size_bytes": 4, "sha256": sha256(b"data"), "purge_on_release": True}
    made = await here.create(**declared)
    assert {key: made[key] for key in declared} == declared
    assert set(made) == {
        *declared,
        *("object_id", "state", "etag", "created_at", "expires_at", "end_reason"),
        *("put_url", "put_max_bytes", "put_expires_at"),
    }
    assert await here.put(made["put_url"], b"data") == 200
    got = (await here.get(made)).body
    assert got["state"] == "ready"
    assert set(got) >= {*declared, "get_url", "get_expires_at"}
    plain = await here.create()
    assert (plain["size_bytes"], plain["sha256"], plain["label"]) == (None, None, "object")


@mostly_ours
async def test_an_empty_object(here: World) -> None:
    got = await here.uploaded(b"", size_bytes=0)
    assert (got["state"], got["size_bytes"]) == ("ready", 0)
    assert await here.raw("GET", got["get_url"]) == (200, b"")


async def test_the_declared_size_is_in_the_signature(here: World) -> None:
    made = await here.create(size_bytes=1000)
    for wrong in (b"", bytes(999), bytes(1001)):
        assert await here.put(made["put_url"], wrong) == 403
    assert (await here.get(made)).body["state"] == "pending"
    assert await here.put(made["put_url"], bytes(1000)) == 200
    assert (await here.get(made)).body["state"] == "ready"


async def test_changed_urls(here: World) -> None:
    made, other = await here.create(size_bytes=4), await here.create(size_bytes=4)
    url = made["put_url"]
    changed = (
        url.replace(made["object_id"], other["object_id"]),
        url[:-1] + ("A" if url[-1] != "A" else "B"),
        url.partition("?")[0],
        url.replace("xpires=", "xpires=9"),
    )
    for one in changed:
        assert one != url
        assert await here.put(one, b"data") in (400, 403), one
    got = await here.uploaded(b"data", size_bytes=4)
    assert await here.put(got["get_url"], b"evil") == 403
    assert (await here.raw("GET", got["put_url"]))[0] == 403
    assert (await here.raw("DELETE", got["get_url"]))[0] in (403, 405)
    assert await here.raw("GET", got["get_url"]) == (200, b"data")
    assert await here.stored() == {got["object_id"]}


async def test_urls_die(here: World) -> None:
    """A GET URL never outlives the object: what is left of its day bounds it."""
    got = await here.uploaded(b"data")
    here.clock.advance(24 * HOUR - 1.5)
    last = (await here.get(got)).body
    assert last["get_expires_at"] < last["expires_at"]
    assert (await here.raw("GET", last["get_url"]))[0] == 200
    here.clock.advance(1.5)
    async with asyncio.timeout(10):
        # The store's own clock judges S3's.
        while (await here.raw("GET", last["get_url"]))[0] == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert (await here.raw("GET", last["get_url"]))[0] in (400, 403)
    for path in ("", "/complete"):
        method = "POST" if path else "GET"
        reply = await here.call(method, f"/{got['object_id']}{path}")
        assert (reply.status, reply.code) == (410, "object_expired")
    listed = (await here.call("GET")).body
    assert [o["state"] for o in listed] == ["expired"]
    assert (await here.call("DELETE", f"/{got['object_id']}")).body["state"] == "expired"


@mostly_ours
async def test_put_urls_are_good_for_an_hour(here: World) -> None:
    made = await here.create()
    assert _seconds(made["created_at"], made["put_expires_at"]) == HOUR
    assert _seconds(made["created_at"], made["expires_at"]) == 24 * HOUR
    got = await here.uploaded()
    assert _seconds(got["created_at"], got["get_expires_at"]) == HOUR


@mostly_ours
async def test_anothers_object(here: World) -> None:
    got = await here.uploaded()
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/complete")):
        reply = await here.call(method, f"/{got['object_id']}{path}", email="b@example.org")
        assert (reply.status, reply.code) == (404, "not_found")
    assert (await here.call("GET", email="b@example.org")).body == []
    assert (await here.get(got)).status == 200


async def test_checksum(here: World) -> None:
    data = random_bytes(2_500_000)
    got = await here.uploaded(data, sha256=sha256(data).upper())
    assert (got["state"], got["sha256"]) == ("ready", sha256(data))
    bad = await here.create(sha256=sha256(b"something else"))
    assert await here.put(bad["put_url"], data) == 200
    reply = await here.get(bad)
    assert (reply.status, reply.code) == (409, "checksum_mismatch")
    assert await here.stored() == {got["object_id"]}
    # Written over with other content, it is no longer what was verified.
    assert await here.put(got["put_url"], b"other") == 200
    assert ((await here.get(got)).status, (await here.get(got)).code) == (409, "checksum_mismatch")
    assert await here.stored() == set()


async def test_an_upload_over_an_upload_is_found(here: World) -> None:
    got = await here.uploaded(b"first")
    assert await here.put(got["put_url"], b"the second") == 200
    again = (await here.get(got)).body
    assert (again["state"], again["size_bytes"]) == ("ready", 10)
    assert again["etag"] != got["etag"]
    assert await here.put(got["put_url"], b"third") == 200
    await here.transit.sweep.once()
    assert (await here.call("GET")).body[0]["size_bytes"] == 5


async def test_a_put_after_the_end_is_swept(here: World) -> None:
    deleted, expired = await here.uploaded(b"1"), await here.create()
    await here.call("DELETE", f"/{deleted['object_id']}")
    if here.transit.folder is not None:
        # We are asked ourselves: nothing of it is taken.
        assert await here.put(deleted["put_url"], b"again") == 410
        await here.stray(deleted["object_id"], b"again")
    else:
        assert await here.put(deleted["put_url"], b"again") == 200
    assert await here.stored() == {deleted["object_id"]}
    await here.transit.sweep.once()
    assert await here.stored() == set()
    assert (await here.get(deleted)).status == 410
    # One that began just in time, and ends late.
    assert await here.put(expired["put_url"], b"late") == 200
    here.clock.advance(24 * HOUR)
    await here.transit.sweep.once()
    assert await here.stored() == set()


@mostly_ours
async def test_quota_by_declared_sizes(settings: Objects, tmp_path: Path) -> None:
    """In MB rather than GB: the disk that this runs on may be small."""
    settings = replace(small(settings), quota_gb=0.1, object_gb=0.05)
    async with world(tmp_path, settings) as here:
        for size in (50 * MB, 49 * MB):
            await here.create(size_bytes=size)
        reply = await here.call("POST", body={"size_bytes": 2 * MB})
        assert (reply.status, reply.code) == (409, "quota_exceeded")
        await here.create(size_bytes=MB)
        assert (await here.call("POST", body={"size_bytes": 1})).code == "quota_exceeded"
        reply = await here.call("POST", body={"size_bytes": 50 * MB + 1}, email="b@example.org")
        assert (reply.status, reply.code) == (409, "object_too_large")
        assert (await here.call("POST", body={"size_bytes": 0})).status == 200


@mostly_ours
async def test_racing_posts(here: World) -> None:
    """Undeclared objects reserve 5 GiB each: 18 fit into 100 GB."""
    await here.token()
    replies = await asyncio.gather(*(here.call("POST", body={}) for _ in range(30)))
    good = [reply for reply in replies if reply.status == 200]
    assert len(good) == 100 * GB // UNDECLARED_BYTES == 18
    assert {reply.code for reply in replies if reply.status != 200} == {"quota_exceeded"}
    # What is measured counts as what it is.
    assert await here.put(good[0].body["put_url"], b"small") == 200
    await here.get(good[0].body)
    assert (await here.call("POST", body={})).status == 200
    assert (await here.call("POST", body={})).status == 409


async def test_parts(here: World) -> None:
    size = (10 << 20) + 345
    data = random_bytes(size)
    made = await here.create(size_bytes=size, sha256=sha256(data))
    assert made["put_url"] is None
    assert made["part_size"] == 5 << 20
    assert [part["number"] for part in made["parts"]] == [1, 2, 3]
    assert sum(part["size_bytes"] for part in made["parts"]) == size
    complete = f"/{made['object_id']}/complete"
    assert (await here.call("POST", complete)).code == "upload_incomplete"
    # In any order; one of a wrong length is refused, one that is sent again counts once.
    for part in (made["parts"][1], made["parts"][0]):
        assert await here.put(part["url"], bytes(1000)) == 403
        assert await here.put(part["url"], _cut(data, part)) == 200
    assert await here.put(made["parts"][0]["url"], _cut(data, made["parts"][0])) == 200
    reply = await here.call("POST", complete)
    assert (reply.status, reply.code) == (409, "upload_incomplete")
    assert reply.body["detail"].endswith("1 of 3 parts are missing: 3")
    # An hour later: fresh URLs, of the missing part alone.
    here.clock.advance(HOUR + 1)
    pending = (await here.get(made)).body
    assert (pending["state"], pending["get_url"]) == ("pending", None)
    (missing,) = pending["parts"]
    assert missing["number"] == 3
    assert await here.put(missing["url"], _cut(data, missing)) == 200
    done = await here.call("POST", complete)
    assert (done.status, done.body["state"], done.body["size_bytes"]) == (200, "ready", size)
    status, got = await here.raw("GET", done.body["get_url"])
    assert (status, hashlib.sha256(got).hexdigest()) == (200, sha256(data))
    again = await here.call("POST", complete)
    assert (again.body["state"], again.body["etag"]) == ("ready", done.body["etag"])
    assert await here.put(missing["url"], _cut(data, missing)) in (400, 403, 404)
    assert await here.store.uploads() == []


async def test_stale_parts_are_aborted(here: World) -> None:
    deleted = await here.create(size_bytes=12 << 20)
    assert len(await here.store.uploads()) == 1
    await here.call("DELETE", f"/{deleted['object_id']}")
    assert await here.store.uploads() == []
    made = await here.create(size_bytes=12 << 20)
    first = made["parts"][0]
    assert await here.put(first["url"], bytes(first["size_bytes"])) == 200
    await here.transit.sweep.once()
    assert [upload.key for upload in await here.store.uploads()] == [made["object_id"]]
    orphan = "obj_" + "0" * 24
    await here.store.begin_upload(orphan)
    here.clock.advance(24 * HOUR)
    await here.transit.sweep.once()
    assert await here.store.uploads() == []
    assert await here.stored() == set()


async def test_given_up_parts_begin_again(here: World) -> None:
    """What the store's own lifecycle rule, or an operator, gave up can be sent again."""
    made = await here.create(size_bytes=7 << 20)
    (upload,) = await here.store.uploads()
    await here.store.abort_upload(upload.key, upload.upload_id)
    reply = await here.call("POST", f"/{made['object_id']}/complete")
    assert (reply.status, reply.code) == (409, "upload_incomplete")
    pending = (await here.get(made)).body
    for part in pending["parts"]:
        assert await here.put(part["url"], bytes(part["size_bytes"])) == 200
    done = await here.call("POST", f"/{made['object_id']}/complete")
    assert done.body["state"] == "ready"


async def test_what_the_database_does_not_know_is_deleted(here: World) -> None:
    got = await here.uploaded(b"kept")
    orphan = "obj_" + "f" * 24
    await here.stray(orphan, b"lost")
    assert await here.stored() == {got["object_id"], orphan}
    await here.transit.sweep.once()
    assert await here.stored() == {got["object_id"]}
    assert (await here.get(got)).body["state"] == "ready"


@mostly_ours
async def test_what_the_store_has_lost_is_said(here: World) -> None:
    got, other = await here.uploaded(b"here"), await here.uploaded(b"there")
    await here.store.delete(got["object_id"])
    assert (await here.get(got)).code == "object_deleted"
    await here.store.delete(other["object_id"])
    await here.transit.sweep.once()
    listed = (await here.call("GET")).body
    assert {o["end_reason"] for o in listed} == {"lost"}


@mostly_ours
async def test_200_objects_swept(here: World) -> None:
    made = [await here.create(size_bytes=1) for _ in range(200)]
    await asyncio.gather(*(here.put(one["put_url"], b"x") for one in made))
    assert len(await here.stored()) == 200
    await here.transit.sweep.once()
    listed = (await here.call("GET", "?limit=500")).body
    assert {o["state"] for o in listed} == {"ready"}
    here.clock.advance(DAY_MS / 1000)
    await here.transit.sweep.once()
    assert await here.stored() == set()
    listed = (await here.call("GET", "?limit=500")).body
    assert [o["state"] for o in listed] == ["expired"] * 200


def _cut(data: bytes, part: dict[str, int]) -> bytes:
    return data[part["offset"] : part["offset"] + part["size_bytes"]]


def _seconds(start: str, stop: str) -> int:
    return (parse_rfc3339(stop) - parse_rfc3339(start)) // 1000


pytestmark = pytest.mark.timeout(120)
