"""Accounts, credits and tokens."""

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from kgpud.errors import Code, UserError
from kgpud.tokens import Caller, SecretDamaged, load_or_create_secret
from store import actions, ledger
from tests.manual_clock import ManualClock
from tests.platform.world import World


async def said(world: World, bearer: str) -> Code | Caller:
    try:
        return await world.tokens.authenticate(bearer)
    except UserError as error:
        return error.code


async def test_trial_credits_come_once(still: World) -> None:
    account = await still.accounts.add("A@example.org", "A", who="test")
    assert (account.status, account.balance) == ("pending", 0)
    with pytest.raises(UserError) as caught:
        await still.accounts.add("a@EXAMPLE.org", "B", who="test")
    assert (caught.value.code, caught.value.field) == (Code.DUPLICATE, "email")
    for _ in range(2):
        approved = await still.accounts.approve("a@example.org", "m")
        assert (approved.status, approved.balance) == ("approved", 100_000)
        await still.accounts.suspend(account.account_id, "m")
    assert [a.account_id for a in await still.accounts.list("suspended")] == [account.account_id]
    assert await still.accounts.list("pending") == []


async def test_credits_never_go_below_zero(still: World) -> None:
    account = await still.account(credits_=10)
    for amount in (-11, 0):
        with pytest.raises(UserError) as caught:
            await still.accounts.credit(account.email, amount, who="m", note="")
        assert caught.value.field == "amount"

    async def take() -> bool:
        try:
            await still.accounts.credit(account.email, -1, who="m", note="")
        except UserError:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(take()) for _ in range(30)]
    assert sum(task.result() for task in tasks) == 10
    assert (await still.accounts.find(account.email)).balance == 0
    with pytest.raises(UserError) as caught:
        await still.accounts.find("nobody@example.org")
    assert caught.value.code == Code.NOT_FOUND
    await still.sound()


async def test_one_token_lives_per_account(still: World) -> None:
    account = await still.accounts.add("a@example.org", "A", who="test")
    first = await still.tokens.issue(account.account_id)
    assert await said(still, first) == Code.ACCOUNT_PENDING
    account = await still.accounts.approve(account.account_id, "m")
    assert await said(still, first) == Caller(account, "account", None)
    second = await still.tokens.issue(account.account_id)
    assert await said(still, first) == Code.TOKEN_REVOKED
    assert isinstance(await said(still, second), Caller)
    await still.accounts.suspend(account.account_id, "m")
    assert await said(still, second) == Code.ACCOUNT_SUSPENDED


async def test_what_is_no_token_is_refused_alike(still: World) -> None:
    account = await still.account()
    token = await still.tokens.issue(account.account_id)
    other = await still.tokens.issue((await still.account("b@example.org")).account_id)
    swapped = token[:15] + other[15:]
    for wrong in ("", "kgpu_", token[:-1], token + "x", token.upper(), swapped, "kgpu_é" * 9):
        assert await said(still, wrong) == Code.INVALID_TOKEN
    pod = still.tokens.pod_token("gpu-rent-1-aaaaaa")
    for wrong in (pod, pod[:-1], "kgpu_pod_", "kgpu_pod_é.é"):
        assert await said(still, wrong) == Code.INVALID_TOKEN


async def test_tokens_are_not_in_the_store(still: World, tmp_path: Path) -> None:
    token = await still.tokens.issue((await still.account()).account_id)
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("kgpud.sqlite3*"))
    assert token[5:15].encode() in kept
    assert token[15:].encode() not in kept


def test_the_signing_secret_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert load_or_create_secret(path) == load_or_create_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]
    path.write_bytes(b"short")
    with pytest.raises(SecretDamaged, match="32 bytes"):
        load_or_create_secret(path)


async def test_a_manual_clock_wakes_in_order(clock: ManualClock) -> None:
    woke: list[int] = []

    async def wait(seconds: int) -> None:
        await clock.sleep(seconds)
        woke.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (3, 1, 2):
            group.create_task(wait(seconds))
        await asyncio.sleep(0)
        assert clock.sleeping == 3
        clock.advance(2)
        await asyncio.sleep(0)
        assert woke == [1, 2]
        clock.advance(1)


async def test_trial_credits_come_once_whoever_writes_them(still: World) -> None:
    account = await still.account()
    with pytest.raises(sqlite3.IntegrityError):
        async with still.db.transaction() as tx:
            await ledger.add(tx, account.account_id, 5, at=1, kind="trial", who="", note="")
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(still.accounts.approve(account.email, "m"))
    assert (await still.accounts.find(account.email)).balance == 100_000


async def test_of_many_who_approve_at_once_one_is_on_record(still: World) -> None:
    account = await still.accounts.add("a@example.org", "A", who="m")
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(still.accounts.approve(account.email, f"m{number}"))
    async with still.db.reading() as rx:
        done = [one.action for one, _ in await actions.newest(rx, 20)]
    assert done == ["approved", "added"]
    (trial,) = await still.accounts.ledger(account.account_id, 5)
    assert trial.kind == "trial"


async def test_who_moved_credits_and_why_is_in_the_ledger(still: World) -> None:
    account = await still.account()
    for amount, correction, kind in (
        (5, False, "topup"),
        (5, True, "correction"),
        (-5, False, "correction"),
    ):
        line = await still.accounts.credit(
            account.email, amount, who="cli:eve", note="because", correction=correction
        )
        assert (line.kind, line.amount, line.who, line.note) == (kind, amount, "cli:eve", "because")
    await still.sound()


async def test_quotas_are_the_accounts_own(still: World) -> None:
    account, other = await still.account(), await still.account("b@example.org")
    await still.accounts.change(account.email, "m", quota_gpus=2)
    changed = await still.accounts.change(account.email, "m", quota_cpu_pods=0)
    assert (changed.quota_gpus, changed.quota_cpu_pods) == (2, 0)
    other = await still.accounts.find(other.email)
    assert (other.quota_gpus, other.quota_cpu_pods) == (4, 4)
