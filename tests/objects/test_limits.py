"""What is measured only after the upload, who may have how much, and signatures as such."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgpud.errors import Code, UserError
from kgpud.object_settings import Folder, Objects
from kgpud.objects.plan import GB, MIB, Limits, Wish, draft, slots
from kgpud.objects.signing import Grant, Signer
from kgpud.objects.stores import Slot
from store import rentals
from store.records import Rental
from tests.manual_clock import ManualClock
from tests.objects.world import World, world

MB = 10**6


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """An account may have 3 MB in all, 2 MB in an object, 5 objects."""
    settings = Objects(quota_gb=0.003, object_gb=0.002, count=5, folder=Folder(min_free_gb=0))
    async with world(tmp_path, settings) as made:
        yield made


async def test_too_large_is_found_after_the_upload(here: World) -> None:
    made = await here.create()
    assert await here.put(made["put_url"], bytes(2 * MB + 1)) == 200
    for _ in range(2):
        reply = await here.get(made)
        assert (reply.status, reply.code) == (409, "object_too_large")
    assert await here.stored() == set()
    swept = await here.create()
    assert await here.put(swept["put_url"], bytes(2 * MB + 1)) == 200
    await here.transit.sweep.once()
    assert await here.stored() == set()
    assert {o["end_reason"] for o in (await here.call("GET")).body} == {"object_too_large"}
    # What was deleted is no longer held.
    assert await here.put((await here.create(size_bytes=2 * MB))["put_url"], bytes(2 * MB)) == 200


async def test_over_the_quota_is_found_after_the_upload(here: World) -> None:
    """A small upload frees the rest of its reserve; the same URL may be used for a large one."""
    small = await here.uploaded(b"small")
    await here.create(size_bytes=2 * MB)
    assert await here.put(small["put_url"], bytes(1_500_000)) == 200
    reply = await here.get(small)
    assert (reply.status, reply.code) == (409, "quota_exceeded")
    assert "deleted" in reply.body["detail"]
    assert await here.stored() == set()


async def test_live_objects_are_counted(here: World) -> None:
    made = [await here.create(size_bytes=0) for _ in range(5)]
    reply = await here.call("POST", body={"size_bytes": 0})
    assert (reply.status, reply.code) == (409, "quota_exceeded")
    assert "5 live objects" in reply.body["detail"]
    await here.call("DELETE", f"/{made[0]['object_id']}")
    await here.create(size_bytes=0)
    here.clock.advance(24 * 3600 + 1)
    # Over is over, swept or not.
    await here.create(size_bytes=0)


async def test_bad_bodies(here: World) -> None:
    for field, value in (
        ("label", ""),
        ("label", "two\nlines"),
        ("label", " x"),
        ("label", "x" * 201),
        ("size_bytes", -1),
        ("size_bytes", "1"),
        ("size_bytes", 1.5),
        ("sha256", "abc"),
        ("sha256", "g" * 64),
        ("purge_on_release", 1),
        ("other", 1),
    ):
        reply = await here.call("POST", body={field: value})
        assert (reply.status, reply.fields) == (422, [field]), field
    assert (await here.call("GET", "/obj_nothing")).status == 404
    assert (await here.call("GET", f"/obj_{'0' * 24}")).code == "not_found"


async def test_pages(here: World) -> None:
    made = []
    for _ in range(3):
        made.append(await here.create(size_bytes=0))
        here.clock.advance(1)
    first = await here.call("GET", "?limit=2")
    assert [o["object_id"] for o in first.body] == [made[2]["object_id"], made[1]["object_id"]]
    following = first.headers["Link"].split("<")[1].split(">")[0].partition("/v1/objects")[2]
    last = await here.call("GET", following)
    assert [o["object_id"] for o in last.body] == [made[0]["object_id"]]
    assert "Link" not in last.headers


async def test_the_same_request_sent_again(here: World) -> None:
    """A lost answer costs no second reservation, and the URL that comes again is a fresh one."""
    headers = {"Idempotency-Key": "once"}
    token = await here.token()

    async def post(**body: object) -> object:
        path = "/v1/objects"
        return await here.api.call("POST", path, token=token, body=body, headers=headers)

    one, two = await post(size_bytes=4), await post(size_bytes=4)
    assert one.body["object_id"] == two.body["object_id"]  # type: ignore[attr-defined]
    assert len((await here.call("GET")).body) == 1
    async with here.db.reading() as rx:
        kept = [str(tuple(row)) for row in await rx.rows("SELECT * FROM idempotency")]
    assert not any("signature" in row for row in kept)
    assert await here.put(two.body["put_url"], b"data") == 200  # type: ignore[attr-defined]
    other = await post(size_bytes=5)
    assert other.code == "idempotency_mismatch"  # type: ignore[attr-defined]


async def test_purged_with_the_last_rental(here: World) -> None:
    await here.token()
    account = (await here.platform.services.accounts.find("a@example.org")).account_id
    async with here.db.transaction() as tx:
        await rentals.insert(tx, _rental("pod-before", account, here.clock.now_ms()))
    await here.platform.services.rentals.end("pod-before", "returned")
    here.clock.advance(1)
    phi = await here.uploaded(b"phi", purge_on_release=True)
    plain = await here.uploaded(b"plain")
    await here.transit.sweep.once()
    # No rental has ended since: it was uploaded for the one that is about to begin.
    assert (await here.get(phi)).status == 200
    for number in range(2):
        async with here.db.transaction() as tx:
            await rentals.insert(tx, _rental(f"pod-{number}", account, here.clock.now_ms()))
    await here.platform.services.rentals.end("pod-0", "returned")
    assert here.transit.sweep.wanted.is_set()
    await here.transit.sweep.once()
    assert (await here.get(phi)).status == 200
    await here.platform.services.rentals.end("pod-1", "returned")
    await here.transit.sweep.once()
    reply = await here.get(phi)
    assert (reply.status, reply.code) == (410, "object_deleted")
    assert await here.stored() == {plain["object_id"]}


async def test_purged_with_the_account(here: World) -> None:
    mine = await here.uploaded(b"mine")
    other = (await here.call("POST", email="b@example.org")).body
    assert await here.put(other["put_url"], b"other") == 200
    account = (await here.platform.services.accounts.find("a@example.org")).account_id
    await here.token("boss@example.org")
    services = here.platform.services
    await services.accounts.change("boss@example.org", "test", role="maintainer")
    for _ in range(2):
        deleted = await here.api.call(
            "DELETE", "/v1/admin/users/a@example.org", token=await here.token("boss@example.org")
        )
        assert deleted.body["status"] == "deleted"
        assert await here.stored() == {other["object_id"]}
    with pytest.raises(UserError) as refused:
        await here.transit.objects.get(account, mine["object_id"])
    assert refused.value.code is Code.OBJECT_DELETED
    # A call that was let in just before.
    with pytest.raises(UserError) as refused:
        await here.transit.objects.create(account, Wish("late", 1, None))
    assert refused.value.code is Code.ACCOUNT_SUSPENDED


async def test_the_sweep_runs_by_itself(here: World) -> None:
    got = await here.uploaded(b"data")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(here.transit.sweep.run())
        async with asyncio.timeout(10):
            # Until it waits for the clock.
            while not here.clock.sleeping:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            here.clock.advance(24 * 3600)
            while await here.stored():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        task.cancel()
    assert (await here.get(got)).code == "object_expired"


def test_the_products_limits() -> None:
    draft("acct", Wish("x", 50 * GB), Limits(), 0)
    with pytest.raises(UserError, match="at most 50000000000 bytes"):
        draft("acct", Wish("x", 50 * GB + 1), Limits(), 0)
    assert (Objects().quota_gb, Objects().object_gb) == (100, 50)


@given(
    size=st.integers(0, 50 * GB),
    put=st.integers(5, 5120),
    part=st.integers(5, 5120),
)
def test_parts_cover_the_object(size: int, put: int, part: int) -> None:
    limits = Limits(put_bytes=put * MIB, part_bytes=part * MIB)
    o = draft("acct", Wish("x", size), limits, 0)
    parts = slots(o)
    if size <= limits.put_bytes:
        assert parts == []
        return
    assert sum(slot.size for slot in parts) == size
    assert [slot.number for slot in parts] == list(range(1, len(parts) + 1))
    assert len(parts) <= 1000
    assert o.part_bytes is not None
    assert o.part_bytes % MIB == 0
    assert all(slot.offset == (slot.number - 1) * o.part_bytes for slot in parts)
    # S3: every part but the last has at least 5 MiB.
    assert all(slot.size == o.part_bytes for slot in parts[:-1])
    assert parts[-1].size > 0


KEY = "obj_" + "a" * 24
GRANTS = st.builds(
    Grant,
    st.just(KEY),
    st.integers(0, 10**12),
    st.text("0123456789abcdef", min_size=1),
    st.builds(Slot, st.integers(1, 1000), st.integers(0, 10**12), st.integers(0, 10**12)),
) | st.builds(Grant, st.just(KEY), st.none() | st.integers(0, 10**12))
_TEXT = st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF), max_size=30)


@given(GRANTS, st.sampled_from(["PUT", "GET"]))
def test_a_signature_says_what_was_granted(grant: Grant, method: str) -> None:
    signer, query = _signed(grant, method)
    found = signer.check(method, KEY, query)
    assert (found.key, found.size, found.upload_id) == (KEY, grant.size, grant.upload_id)
    if grant.slot is not None and grant.size is not None:
        assert found.slot == Slot(grant.slot.number, grant.slot.offset, grant.size)
    assert _refused(signer, "GET" if method == "PUT" else "PUT", KEY, query)
    assert _refused(signer, method, "obj_" + "b" * 24, query)


@given(GRANTS, st.data())
def test_any_change_of_a_signed_query_is_refused(grant: Grant, data: st.DataObject) -> None:
    signer, query = _signed(grant, "PUT")
    name = data.draw(st.sampled_from([*query, "extra"]))
    changed = {**query, name: data.draw(_TEXT)}
    if data.draw(st.booleans()):
        # What one value holds must not pass for another field.
        other = data.draw(st.sampled_from(sorted(query)))
        changed[name] = f"{query.get(name, '')}&{other}={query[other]}"
        changed.pop(other, None)
    if changed != query:
        assert _refused(signer, "PUT", KEY, changed)


def test_the_clock_ends_a_url() -> None:
    clock = ManualClock()
    signer = Signer(b"x" * 32, "http://h", clock)
    query = dict(parse_qsl(urlsplit(signer.url("GET", Grant(KEY), 60)).query))
    clock.advance(59.9)
    assert signer.check("HEAD", KEY, query).key == KEY
    clock.advance(0.1)
    assert _refused(signer, "GET", KEY, query)


def _signed(grant: Grant, method: str) -> tuple[Signer, dict[str, str]]:
    signer = Signer(b"x" * 32, "http://h", ManualClock())
    # A part's URL is for exactly its size.
    url = signer.url(method, grant, 60)
    return signer, dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def _refused(signer: Signer, method: str, key: str, query: dict[str, str]) -> bool:
    try:
        signer.check(method, key, query)
    except UserError as error:
        return error.code in ("url_refused", "url_expired")
    return False


def _rental(pod_id: str, account_id: str, now: int) -> Rental:
    return Rental(
        pod_id=pod_id,
        account_id=account_id,
        name="rent",
        image="kgpu-pytorch:latest",
        gpu_model="v100",
        gpu_count=0,
        cpu="1",
        memory="1Gi",
        ephemeral_storage_gib=1,
        price_per_hour=600,
        created_at=now,
        last_activity_at=now,
    )
