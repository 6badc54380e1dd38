"""What an account can read of its money over HTTP."""

import re
from typing import Any

import pytest

from kgpud.clock import SystemClock, rfc3339
from kgpud.metering import Metering
from store import ledger, rentals
from store.ledger import Usage
from store.records import Rental

from .platform import Platform, User

DAY_HOURS = 24
DAY_MS = 86_400_000


async def get(platform: Platform, user: User, path: str) -> Any:
    reply = await platform.api.call("GET", path, token=user.token)
    assert reply.status == 200, reply.body
    return reply.body


async def pages(platform: Platform, user: User, path: str) -> list[Any]:
    """Follow the Link headers; return all lines."""
    found = []
    while True:
        reply = await platform.api.call("GET", path, token=user.token)
        assert reply.status == 200, reply.body
        found += reply.body
        link = re.fullmatch(r'<http://[^/]+(/[!-~]+)>; rel="next"', reply.headers.get("Link", ""))
        if link is None:
            return found
        path = link[1]


async def used(platform: Platform, user: User, pod_id: str, hours: list[int]) -> None:
    """Write that a rental used a minute in each of these hours, at one credit."""
    now = SystemClock().now_ms()
    rental = Rental(pod_id, user.account_id, "r", "i", "v100", 1, "1", "1Gi", 1, 60, now, now)
    async with platform.db.transaction() as tx:
        await rentals.insert(tx, rental)
        lines = [Usage(user.account_id, pod_id, hour, 1, -1, 0) for hour in hours]
        await ledger.add_usage(tx, lines, now)
        await rentals.end(tx, [rentals.End(pod_id, now, "returned")], now)
        await rentals.save_gone(tx, [pod_id], now)
        await rentals.save_swept(tx, pod_id, now)


async def test_the_books_of_a_running_rental(platform: Platform) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user, gpu_model="v100", gpu_count=2)
    await platform.ready(user, pod_id)
    await platform.accounts.credit(user.email, -99_900, who="test", note="too much")
    steps = platform.rentals.steps
    await Metering(platform.db, SystemClock(), lambda _pod, _why: None, steps=steps).charge()
    balance = await get(platform, user, "/v1/balance")
    assert (balance["credits"], balance["burn_per_hour"]) == (80, 1200)
    # Each minute costs 20: there are four more, and none for the sixth.
    started = (await platform.rentals.get(None, pod_id)).started_at
    assert started is not None
    assert balance["lasts_until"] == rfc3339(started + 5 * 60_000)
    me = await get(platform, user, "/v1/me")
    assert {name: me[name] for name in balance} == balance
    line, corrected, trial = await get(platform, user, "/v1/ledger")
    assert line == {
        "id": line["id"],
        "at": line["at"],
        "kind": "usage",
        "amount": -20,
        "balance_after": 80,
        "pod_id": pod_id,
        "minutes": 1,
        "note": "",
    }
    assert [corrected[name] for name in ("kind", "amount", "balance_after", "note")] == [
        *("correction", -99_900, 100, "too much")
    ]
    assert [trial[name] for name in ("kind", "amount", "pod_id")] == ["trial", 100_000, None]
    day = {
        "day": line["at"][:10],
        "pod_id": pod_id,
        "name": "rent",
        "gpu_model": "v100",
        "gpu_count": 2,
        "minutes": 1,
        "credits": 20,
        "refunded_minutes": 0,
        "refunded_credits": 0,
    }
    assert await get(platform, user, "/v1/usage") == [day]
    await platform.rentals.end(pod_id, "node_lost")
    refund = (await get(platform, user, "/v1/ledger"))[0]
    assert [refund[name] for name in ("kind", "amount", "balance_after", "minutes")] == [
        *("refund", 20, 100, 1)
    ]
    assert sum(line["amount"] for line in await get(platform, user, "/v1/ledger")) == 100
    (day,) = await get(platform, user, "/v1/usage")
    assert (day["refunded_minutes"], day["refunded_credits"]) == (1, 20)


async def test_the_ledger_comes_in_pages_that_growth_does_not_shift(platform: Platform) -> None:
    user = await platform.user()
    for amount in range(1, 6):
        await platform.accounts.credit(user.email, amount, who="test", note=str(amount))
    first = await platform.api.call("GET", "/v1/ledger?limit=2", token=user.token)
    assert [line["note"] for line in first.body] == ["5", "4"]
    await platform.accounts.credit(user.email, 6, who="test", note="6")
    rest = first.headers["Link"].partition(platform.api.root)[2].partition(">")[0]
    found = await pages(platform, user, rest)
    assert [line["note"] for line in found] == ["3", "2", "1", "trial credits"]


async def test_usage_by_day_newest_first(platform: Platform) -> None:
    user, other = await platform.user(), await platform.user()
    today = SystemClock().now_ms() // DAY_MS
    start = (today - 2) * DAY_HOURS
    await used(platform, user, "gpu-a", [start + 22, start + 23, start + 24])
    await used(platform, user, "gpu-b", [start + 47, start + 48])
    await used(platform, other, "gpu-c", [start + 24])
    days = [rfc3339((today - ago) * DAY_MS)[:10] for ago in (2, 1, 0)]
    whole = [
        (days[2], "gpu-b", 1),
        (days[1], "gpu-b", 1),
        (days[1], "gpu-a", 1),
        (days[0], "gpu-a", 2),
    ]

    async def shown(query: str) -> list[tuple[str, str, int]]:
        found = await pages(platform, user, f"/v1/usage{query}")
        return [(row["day"], row["pod_id"], row["minutes"]) for row in found]

    for limit in (1, 2, 3, 100):
        assert await shown(f"?limit={limit}") == whole
    assert await shown(f"?since={days[1]}&limit=1") == whole[:3]
    assert await shown(f"?until={days[1]}&limit=1") == whole[1:]
    assert await shown(f"?since={days[1]}&until={days[1]}") == whole[1:3]


@pytest.mark.parametrize("day", ["2026-02-30", "20261124", "today", "", "1", "-1", "2026-11-24T00"])
async def test_what_is_no_day_is_refused(platform: Platform, day: str) -> None:
    user = await platform.user()
    reply = await platform.api.call("GET", f"/v1/usage?since={day}", token=user.token)
    assert (reply.status, reply.fields) == (422, ["since"])


async def test_an_in_pod_token_reads_no_books(platform: Platform) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user)
    for path in ("/v1/ledger", "/v1/usage"):
        reply = await platform.api.call("GET", path, token=platform.tokens.pod_token(pod_id))
        assert (reply.status, reply.code) == (403, "forbidden_scope")
