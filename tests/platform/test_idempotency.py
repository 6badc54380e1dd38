"""What a key remembers stands or falls with the rental that was written with it."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from kgpud.errors import Code, UserError
from kgpud.idempotency import Idempotency
from kgpud.rentals import Rented
from store.db import Connection
from tests.manual_clock import ManualClock
from tests.platform.child import serving, sign_up
from tests.platform.fake_api import FakeApi
from tests.platform.world import World, wish


async def rent(world: World, keys: Idempotency, account_id: str) -> str:
    async with keys.once(account_id, "k", b"rent") as once:
        if once.answer is not None:
            return once.answer

        async def keep(tx: Connection, rented: Rented) -> None:
            await once.keep(tx, rented.rental.pod_id)

        return (await world.rentals.rent(account_id, wish(), keep)).rental.pod_id


@pytest.mark.parametrize("mood", ["refuse", "down"])
async def test_a_rental_that_came_to_nothing_may_be_tried_again(
    world: World, api: FakeApi, clock: ManualClock, mood: str
) -> None:
    account_id = (await world.account()).account_id
    keys = Idempotency(world.db, clock)
    api.mood, api.down = mood, mood == "down"
    with pytest.raises(UserError):
        await rent(world, keys, account_id)
    api.mood, api.down = "ok", False
    pod_id = await rent(world, keys, account_id)
    assert (await world.row(pod_id)).ended_at is None
    assert await rent(world, keys, account_id) == pod_id


async def test_an_answer_that_was_lost_is_told_again(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    """The cluster has the pod or not, nobody knows: the rental is there, so it is the answer."""
    account_id = (await world.account()).account_id
    api.mood = "lose"
    pod_id = await rent(world, Idempotency(world.db, clock), account_id)
    # As a daemon that was started since.
    assert await rent(world, Idempotency(world.db, clock), account_id) == pod_id


async def test_nothing_is_kept_of_what_was_refused(world: World, clock: ManualClock) -> None:
    account_id = (await world.account(credits_=0)).account_id
    with pytest.raises(UserError) as caught:
        await rent(world, Idempotency(world.db, clock), account_id)
    assert caught.value.code == Code.INSUFFICIENT_CREDITS
    async with world.db.reading() as rx:
        assert await rx.rows("SELECT key FROM idempotency") == []


@pytest.mark.slow
async def test_killed_between_the_row_and_the_answer(api: FakeApi, tmp_path: Path) -> None:
    state, kubeconfig = tmp_path / "state", tmp_path / "kubeconfig"
    api.mood = "hang"
    async with serving(state, kubeconfig) as child:
        token = await sign_up(state)

        async def ask() -> None:
            with pytest.raises(aiohttp.ClientError):
                await child.call("POST", "/pods", token, key="k1", gpu_count=0)

        async with asyncio.TaskGroup() as group:
            group.create_task(ask())
            async with asyncio.timeout(20):
                await api.hanging.wait()
            refused = await child.call("POST", "/pods", token, key="k1", gpu_count=0)
            assert (refused[0], refused[1]["code"]) == (409, "idempotency_in_flight")
            await child.kill()
    api.mood = "ok"
    async with serving(state, kubeconfig) as child:
        status, again = await child.call("POST", "/pods", token, key="k1", gpu_count=0)
        assert status == 200
        assert "private_key" not in again["ssh_access"]
        _, pods = await child.call("GET", "/pods", token)
        assert [pod["pod_id"] for pod in pods] == [again["pod_id"]]
        status, _ = await child.call("POST", "/pods", token, key="k1", gpu_count=1)
        assert status == 422
    # Nothing was made a second time.
    assert api.pods == {}
