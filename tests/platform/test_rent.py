"""Renting, rotating, releasing: what is checked, what is written, what the cluster is told."""

import asyncio
import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway import keys
from kgpud.cluster.client import Cluster
from kgpud.errors import Code, UserError
from store.rentals import Which
from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi
from tests.platform.world import World, until, wish


async def refused(code: Code, world: World, account_id: str, **wanted: object) -> UserError:
    before = [rental.pod_id for rental in await world.rentals.list(Which(account_id))]
    with pytest.raises(UserError) as caught:
        await world.rentals.rent(account_id, wish(**wanted))  # type: ignore[arg-type]
    assert caught.value.code == code
    assert [rental.pod_id for rental in await world.rentals.list(Which(account_id))] == before
    return caught.value


async def test_a_rental_begins(world: World, api: FakeApi) -> None:
    account = await world.account()
    rented = await world.rentals.rent(account.account_id, wish(env={"A": "$(B)"}))
    rental = rented.rental
    assert rented.balance_after_precheck == 99_000
    assert rented.private_key is not None
    assert rental.phase == "Pending"
    pod, secret = api.pods[rental.pod_id], api.objects["secrets"][rental.pod_id]
    assert secret["metadata"]["ownerReferences"][0]["uid"] == pod["metadata"]["uid"]
    token = base64.b64decode(secret["data"]["token"]).decode()
    caller = await world.tokens.authenticate(token)
    assert (caller.scope, caller.pod_id) == ("pod", rental.pod_id)
    # Neither in the pod's spec nor in the store.
    assert token not in json.dumps(pod)
    assert (await world.accounts.find(account.account_id)).balance == 100_000
    found = await world.rentals.by_fingerprint(rental.fingerprint or "")
    assert found is not None
    assert found.pod_id == rental.pod_id


async def test_what_a_user_sent_wrong_creates_nothing(world: World, api: FakeApi) -> None:
    account = (await world.account()).account_id
    bad = Code.VALIDATION_FAILED
    assert (await refused(bad, world, account, gpu_model="h100")).field == "gpu_model"
    assert (await refused(bad, world, account, image="evil.example/x")).field == "image"
    assert (await refused(bad, world, account, ssh_pubkey="hello")).field == "ssh_pubkey"
    for name in ("NVIDIA_X", "LD_PRELOAD", "KGPU_API_TOKEN", "1X", "A=B", "A\n"):
        assert (await refused(bad, world, account, env={name: "x"})).field == f"env.{name}"
    await refused(Code.NO_CAPACITY, world, account, gpu_model="titan")
    await refused(Code.QUOTA_EXCEEDED, world, account, gpu_count=5)
    assert api.asked("POST") == []


async def test_a_key_belongs_to_one_live_rental(world: World) -> None:
    account = (await world.account()).account_id
    line = keys.mint("x").public.line
    first = await world.rentals.rent(account, wish(ssh_pubkey=line + "\n"))
    assert first.private_key is None
    error = await refused(Code.DUPLICATE, world, account, ssh_pubkey=line)
    assert error.field == "ssh_pubkey"
    await world.rentals.release(account, first.rental.pod_id)
    await world.rentals.rent(account, wish(ssh_pubkey=line))


async def test_an_hour_must_be_affordable(world: World) -> None:
    account = (await world.account(credits_=1999)).account_id
    await refused(Code.INSUFFICIENT_CREDITS, world, account, gpu_count=2)
    rented = await world.rentals.rent(account, wish(gpu_count=0))
    assert rented.balance_after_precheck == 999


@pytest.mark.parametrize(
    ("gpus", "cpu_pods", "count"), [(4, 4, 1), (7, 4, 2), (4, 4, 0), (4, 2, 0)]
)
async def test_fifty_at_once_do_not_pass_the_quota(
    world: World, gpus: int, cpu_pods: int, count: int
) -> None:
    account = await world.account()
    await world.accounts.change(account.email, "m", quota_gpus=gpus, quota_cpu_pods=cpu_pods)
    codes: list[str] = []

    async def rent() -> None:
        try:
            await world.rentals.rent(account.account_id, wish(gpu_model="v100", gpu_count=count))
            codes.append("ok")
        except UserError as error:
            codes.append(error.code)

    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(rent())
    fit = gpus // count if count else cpu_pods
    assert codes.count("ok") == fit
    assert codes.count(Code.QUOTA_EXCEEDED) == 50 - fit
    assert await world.rentals.in_use(account.account_id) == (fit * count, 0 if count else fit)
    # Each of the two has its own cap.
    await world.rentals.rent(account.account_id, wish(gpu_count=0 if count else 1))


async def test_fifty_accounts_racing_for_the_last_gpu(world: World, api: FakeApi) -> None:
    first = await world.account()
    await world.rentals.rent(first.account_id, wish(gpu_count=3))
    others = [await world.account(f"b{n}@example.org") for n in range(50)]
    won: list[str] = []

    async def rent(account_id: str) -> None:
        try:
            won.append((await world.rentals.rent(account_id, wish())).rental.pod_id)
        except UserError as error:
            assert error.code == Code.NO_CAPACITY  # noqa: PT017

    # Even where the cluster finds no node for them for a while.
    api.schedules = False
    async with asyncio.TaskGroup() as group:
        for account in others:
            group.create_task(rent(account.account_id))
    assert len(won) == 1
    assert [m.free for m in world.catalog.menu() if m.gpu_model == "rtx4090"] == [0]


async def test_a_lower_quota_takes_nothing_away(world: World) -> None:
    account = (await world.account()).account_id
    await world.rentals.rent(account, wish(gpu_count=3))
    await world.accounts.change(account, "m", quota_gpus=1)
    assert await world.rentals.in_use(account) == (3, 0)
    await refused(Code.QUOTA_EXCEEDED, world, account)
    await world.accounts.change(account, "m", quota_gpus=4)
    await world.rentals.rent(account, wish())


async def test_capacity_comes_back_when_the_pod_is_gone(world: World, api: FakeApi) -> None:
    account = (await world.account()).account_id
    rental = (await world.rentals.rent(account, wish(gpu_count=4))).rental
    other = (await world.account("b@example.org")).account_id
    await world.rentals.release(account, rental.pod_id)
    # The quota is back at once; the GPUs are busy until the pod is gone.
    assert (await world.rentals.in_use(account))[0] == 0
    await refused(Code.NO_CAPACITY, world, other)
    await until(lambda: "deletionTimestamp" in api.pods[rental.pod_id]["metadata"])
    await refused(Code.NO_CAPACITY, world, other)
    api.remove(rental.pod_id)
    await until(lambda: rental.pod_id not in world.view.pods)
    await world.rentals.rent(other, wish())


async def test_rotation_kills_the_old_key(world: World) -> None:
    account = (await world.account()).account_id
    old = (await world.rentals.rent(account, wish())).rental
    rotated = await world.rentals.rotate(account, old.pod_id, None)
    assert rotated.private_key is not None
    assert rotated.rental.key_generation == 2
    assert world.cuts == [(old.pod_id, "key_rotated")]
    assert await world.rentals.by_fingerprint(old.fingerprint or "") is None
    assert await world.rentals.get(account, old.pod_id) == rotated.rental
    line = keys.mint("x").public.line
    await world.rentals.rotate(account, old.pod_id, line)
    again = await world.rentals.rotate(account, old.pod_id, line)
    assert again.rental.key_generation == 3
    assert len(world.cuts) == 2


async def test_release_is_final_and_repeatable(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    rental = (await world.rentals.rent(account, wish())).rental
    api.run(rental.pod_id, clock.now_ms())
    await until(lambda: world.view.pods[rental.pod_id].ready)
    clock.advance(90)
    ended = await world.rentals.release(account, rental.pod_id)
    assert (ended.phase, ended.end_reason, ended.fingerprint) == ("Terminating", "returned", None)
    assert (ended.charged_minutes, ended.cost, ended.ready) == (2, 33, False)
    assert set(world.cuts) == {(rental.pod_id, "returned")}
    await until(lambda: api.asked("DELETE") == [rental.pod_id] * 2)
    api.remove(rental.pod_id)
    await until(lambda: rental.pod_id not in world.view.pods)
    clock.advance(3600)
    again = await world.rentals.release(account, rental.pod_id)
    assert again.phase == "Ended"
    assert (again.ended_at, again.cost) == (ended.ended_at, 33)
    with pytest.raises(UserError) as caught:
        await world.rentals.rotate(account, rental.pod_id, None)
    assert caught.value.code == Code.POD_ENDED
    with pytest.raises(UserError) as caught:
        await world.tokens.authenticate(world.tokens.pod_token(rental.pod_id))
    assert caught.value.code == Code.TOKEN_REVOKED
    await world.sound()


async def test_other_peoples_rentals_do_not_exist(world: World) -> None:
    mine = (await world.account()).account_id
    other = (await world.account("b@example.org")).account_id
    pod_id = (await world.rentals.rent(mine, wish())).rental.pod_id
    for attempt in (
        world.rentals.get(other, pod_id),
        world.rentals.rotate(other, pod_id, None),
        world.rentals.release(other, pod_id),
    ):
        with pytest.raises(UserError) as caught:
            await attempt
        assert caught.value.code == Code.NOT_FOUND


@pytest.mark.parametrize(
    ("mood", "code"), [("refuse", Code.INTERNAL), ("down", Code.CLUSTER_UNREACHABLE)]
)
async def test_no_pod_no_rental(world: World, api: FakeApi, mood: str, code: Code) -> None:
    account = (await world.account()).account_id
    if mood == "down":
        api.stop()
    api.mood = mood
    with pytest.raises(UserError) as caught:
        await world.rentals.rent(account, wish())
    assert caught.value.code == code
    for rental in await world.rentals.list(Which(account)):
        assert (rental.end_reason or "").startswith("start_failed:")
    assert (await world.rentals.in_use(account))[0] == 0
    if mood == "refuse":
        # Its Secret goes, and its GPU is free again, without waiting for a list.
        await until(lambda: api.objects["secrets"] == {})


async def test_a_pod_that_is_there_is_told_though_the_disk_is_full_by_then(
    world: World, api: FakeApi, tmp_path: Path
) -> None:
    account = (await world.account()).account_id
    api.mood = "slow"
    async with world.db.transaction() as tx:
        await tx.rows("PRAGMA busy_timeout = 0")
    async with asyncio.TaskGroup() as group:
        renting = group.create_task(world.rentals.rent(account, wish()))
        await api.hanging.wait()
        with closing(sqlite3.connect(tmp_path / "kgpud.sqlite3")) as other:
            # Nothing can be written, as on a full disk.
            other.execute("BEGIN IMMEDIATE")
            api.mood = "ok"
            api._wake()
            rented = await renting
    assert rented.private_key is not None
    assert rented.rental.pod_id in api.pods


async def test_a_cluster_that_is_away_takes_no_rentals(world: World, api: FakeApi) -> None:
    account = (await world.account()).account_id
    api.stop()
    await until(lambda: not world.view.connected)
    await refused(Code.CLUSTER_UNREACHABLE, world, account)


async def test_activity_is_kept(world: World, clock: ManualClock) -> None:
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    clock.advance(10)
    await world.rentals.activity.note(pod_id)
    clock.advance(0.1)
    await world.rentals.activity.note(pod_id)
    assert (await world.rentals.get(account, pod_id)).last_activity_at == clock.now_ms()
    await world.rentals.activity.flush()
    assert (await world.rentals.get(account, pod_id)).last_activity_at == clock.now_ms()


async def test_credentials_are_read_again_when_refused(world: World, api: FakeApi) -> None:
    assert isinstance(world.cluster, Cluster)
    server = await world.cluster.api_server()
    assert "token" not in repr(server)
    listing = await world.cluster.list_nodes()
    assert {item["metadata"]["name"] for item in listing.items} == {"n1", "n2"}
    assert api.asked("GET")
