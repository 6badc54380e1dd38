"""A pod of ours without a row, as after a restored backup: it lives on, and is billed."""

import asyncio
import copy
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgpud.cluster import adoption, manifests
from kgpud.cluster.manifests import Installation
from kgpud.cluster.pods import STARTING
from kgpud.config import Config
from kgpud.history import History
from store.rentals import Which
from tests.manual_clock import START_MS, ManualClock
from tests.operator.test_pod import RENTAL
from tests.platform.fake_api import FakeApi
from tests.platform.test_reconcile import tick
from tests.platform.world import World, platform, running, until, wish

POD = manifests.pod(RENTAL, {}, Installation.of(Config(), "i", "http://x/v1"))
NOW = RENTAL.created_at + 1000


def backup(source: Path, target: Path) -> None:
    target.mkdir()
    name = "kgpud.sqlite3"
    with (
        closing(sqlite3.connect(source / name)) as old,
        closing(sqlite3.connect(target / name)) as new,
    ):
        old.backup(new)
    (target / "secret.key").write_bytes((source / "secret.key").read_bytes())


async def test_a_restored_backup_finds_its_pods_again(
    still: World, api: FakeApi, clock: ManualClock, tmp_path: Path
) -> None:
    account = (await still.account()).account_id
    backup(tmp_path, tmp_path / "restored")
    async with running(still):
        wanted = wish(gpu_model="v100", gpu_count=2)
        pod_id = (await still.rentals.rent(account, wanted)).rental.pod_id
        clock.advance(10)
        api.run(pod_id, clock.now_ms())
        await until(lambda: still.view.pods[pod_id].ready)
        clock.advance(170)
        await still.metering.charge()
        before = await still.row(pod_id)
    async with platform(tmp_path / "restored", tmp_path / "kubeconfig", clock) as again:
        assert await again.rentals.list(Which(limit=10)) == []
        async with running(again):
            await again.metering.charge()
            after = await again.row(pod_id)
            assert await again.rentals.by_fingerprint(before.fingerprint or "") == after
            # The same rental at the same bill; when it was used, nobody knows any more.
            assert (
                replace(
                    after,
                    last_activity_at=before.last_activity_at,
                    create_acked_at=before.create_acked_at,
                    ready_at=before.ready_at,
                    cpu=before.cpu,
                )
                == before
            )
            assert await again.rentals.in_use(account) == (2, 0)
            await again.sound()
            told = await History(again.db, again.rentals).after(pod_id, 0, 9)
            assert [one.kind for one in told] == ["created", "scheduled", "started", "ready"]
            await tick(again, clock)
            assert api.asked("DELETE") == []
            await again.rentals.release(account, pod_id)
            await tick(again, clock)
        assert set(api.asked("DELETE")) == {pod_id}


async def test_a_key_that_opens_another_rental_by_now_is_not_pinned_twice(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    mine = (await world.rentals.rent(account, wish())).rental
    pod = copy.deepcopy(api.pods[mine.pod_id])
    pod["metadata"] |= {"name": "gpu-old-1-aaaaaa"}
    pod["metadata"]["labels"] |= {"kgpu.net/rental": "gpu-old-1-aaaaaa"}
    api.apply("pods", "ADDED", pod)
    await until(lambda: len(world.view.pods) == 2)
    adopted = await world.row("gpu-old-1-aaaaaa")
    assert adopted.fingerprint != mine.fingerprint
    assert await world.rentals.by_fingerprint(mine.fingerprint or "") == await world.row(
        mine.pod_id
    )
    assert (await world.rentals.rotate(account, adopted.pod_id, None)).private_key
    await world.sound()
    assert clock.now_ms() == START_MS


_LABELS = ("kgpu.net/rental", "kgpu.net/account", "kgpu.net/gpu-model")
_NUMBERS = (
    "kgpu.net/gpu-count",
    "kgpu.net/price-per-hour",
    "kgpu.net/created-at",
    "kgpu.net/key-generation",
)
_TEXTS = ("kgpu.net/name",)
_BAD = ("", "x", "\N{SUPERSCRIPT TWO}", "-1", "9" * 18)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "") for name in (*_LABELS, *_TEXTS)),
        ("kgpu.net/rental", "another"),
        *((name, bad) for name in _NUMBERS for bad in _BAD),
    ],
)
def test_what_is_not_whole_is_not_believed(name: str, value: str) -> None:
    pod = copy.deepcopy(POD)
    pod["metadata"]["labels" if name in _LABELS else "annotations"][name] = value
    with pytest.raises(ValueError, match=name):
        adoption.read(pod, NOW)


@given(st.integers(0, 4), st.integers(1, 2000), st.integers(0, 10**9))
def test_a_pod_tells_its_rental(gpus: int, gib: int, price: int) -> None:
    rental = replace(RENTAL, gpu_count=gpus, ephemeral_storage_gib=gib, price_per_hour=price)
    pod = manifests.pod(rental, {}, Installation.of(Config(), "i", "http://x/v1"))
    if gib % 1024 == 0:
        # As the API server writes it.
        pod["spec"]["containers"][0]["resources"]["limits"]["ephemeral-storage"] = (
            f"{gib // 1024}Ti"
        )
    seen = replace(rental, last_activity_at=NOW, pending_reason=STARTING)
    assert adoption.read(pod, NOW) == seen


async def test_a_strangers_pod_under_our_name_is_left_alone(
    world: World, api: FakeApi, clock: ManualClock, capfd: pytest.CaptureFixture[str]
) -> None:
    pod = copy.deepcopy(POD)
    pod["metadata"]["labels"]["kgpu.net/installation"] = world.reconcile._installation
    pod["status"] = {"phase": "Pending"}
    for _ in range(3):
        api.apply("pods", "ADDED", pod)
    await until(lambda: len(world.view.pods) == 1)
    await tick(world, clock)
    assert api.asked("DELETE") == []
    assert capfd.readouterr().out.count("there is no account acc_1") == 1


async def test_a_key_that_was_replaced_since_the_backup_stays_dead(
    still: World, api: FakeApi, clock: ManualClock, tmp_path: Path
) -> None:
    account = (await still.account()).account_id
    async with running(still):
        pod_id = (await still.rentals.rent(account, wish())).rental.pod_id
        api.run(pod_id, clock.now_ms())
        await until(lambda: still.view.pods[pod_id].ready)
        stolen = (await still.row(pod_id)).fingerprint or ""
        backup(tmp_path, tmp_path / "restored")
        for _ in range(2):
            await still.rentals.rotate(account, pod_id, None)
        newest = await still.row(pod_id)
    async with platform(tmp_path / "restored", tmp_path / "kubeconfig", clock) as again:
        assert await again.rentals.by_fingerprint(stolen) is not None
        async with running(again):
            assert await again.rentals.by_fingerprint(stolen) is None
            row = await again.row(pod_id)
            assert (row.fingerprint, row.key_generation) == (newest.fingerprint, 3)
            assert (await again.rentals.rotate(account, pod_id, None)).rental.key_generation == 4
            await again.sound()


async def test_a_pod_tells_of_its_newest_key_in_whichever_order_two_arrive(
    world: World, api: FakeApi
) -> None:
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    before = len(api.asked("PATCH"))
    slow = asyncio.Event()
    api.late_patches = [slow]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.rentals.rotate(account, pod_id, None))
        await until(lambda: len(api.asked("PATCH")) > before)
        await world.rentals.rotate(account, pod_id, None)
        slow.set()
    notes = api.pods[pod_id]["metadata"]["annotations"]
    newest = await world.row(pod_id)
    assert notes["kgpu.net/key-generation"] == str(newest.key_generation) == "3"
    assert notes["kgpu.net/key-fingerprint"] == newest.fingerprint


async def test_what_was_released_since_the_backup_is_billed_until_then(
    still: World, api: FakeApi, clock: ManualClock, tmp_path: Path
) -> None:
    account = (await still.account()).account_id
    async with running(still):
        pod_id = (await still.rentals.rent(account, wish())).rental.pod_id
        api.run(pod_id, clock.now_ms())
        await until(lambda: still.view.pods[pod_id].ready)
        backup(tmp_path, tmp_path / "restored")
        clock.advance(130)
        await still.rentals.release(account, pod_id)
        await tick(still, clock, 0)
    # Its kubelet is away, so its pod stays.
    clock.advance(5 * 3600)
    async with platform(tmp_path / "restored", tmp_path / "kubeconfig", clock) as again:
        async with running(again):
            rental = await again.row(pod_id)
        assert (rental.phase, rental.end_reason) == ("Terminating", "pod_lost")
        # Three minutes, and the last one is given back: nobody here knows that it was the renter.
        assert rental.charged_minutes == 2
        await again.sound()
