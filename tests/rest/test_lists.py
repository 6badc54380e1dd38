"""Lists: pages by cursor, filters, and queries that are refused."""

import re
from typing import Any

from .platform import Platform, User


async def listed(platform: Platform, user: User, query: str = "") -> list[str]:
    reply = await platform.api.call("GET", f"/v1/pods{query}", token=user.token)
    assert reply.status == 200, reply.body
    return [pod["pod_id"] for pod in reply.body]


async def pages(platform: Platform, user: User, query: str) -> list[list[Any]]:
    """Follow the Link headers from the first page to the last."""
    found, path = [], f"/v1/pods{query}"
    while True:
        reply = await platform.api.call("GET", path, token=user.token)
        assert reply.status == 200, reply.body
        found.append([pod["pod_id"] for pod in reply.body])
        link = reply.headers.get("Link")
        if link is None:
            return found
        match = re.fullmatch(rf'<{platform.api.root}(/v1/pods\?[!-~]+)>; rel="next"', link)
        assert match, link
        path = match[1]


async def test_pages_hold_every_pod_once_newest_first(platform: Platform) -> None:
    user, other = await platform.user(), await platform.user()
    await platform.rent(other)
    rented = [await platform.rent(user) for _ in range(4)]
    assert await pages(platform, user, "?limit=4") == [rented[::-1]]
    assert await pages(platform, user, "?limit=3") == [rented[:0:-1], rented[:1]]
    assert await pages(platform, user, "?limit=1") == [[pod] for pod in rented[::-1]]


async def test_a_pod_that_comes_or_ends_between_two_pages_moves_no_other(
    platform: Platform,
) -> None:
    user = await platform.user()
    rented = [await platform.rent(user) for _ in range(3)]
    first = await platform.api.call("GET", "/v1/pods?limit=2", token=user.token)
    await platform.rent(user)
    await platform.api.call("DELETE", f"/v1/pods/{rented[2]}", token=user.token)
    path = first.headers["Link"].partition(platform.api.root)[2].partition(">")[0]
    second = await platform.api.call("GET", path, token=user.token)
    assert [pod["pod_id"] for pod in second.body] == rented[:1]


async def test_filters_stay_on_the_next_page(platform: Platform) -> None:
    user = await platform.user()
    rented = [await platform.rent(user) for _ in range(3)]
    for pod in rented:
        await platform.ready(user, pod)
    await platform.api.call("DELETE", f"/v1/pods/{rented[1]}", token=user.token)
    assert await pages(platform, user, "?active=true&limit=1") == [rented[2:], rented[:1]]
    assert await listed(platform, user, "?active=false") == [rented[1]]
    assert await listed(platform, user, "?phase=Running") == [rented[2], rented[0]]
    assert await listed(platform, user, "?phase=Running&active=false") == []
    # Its pod goes meanwhile, and is in one list or in the other.
    ended = [await listed(platform, user, f"?phase={p}") for p in ("Terminating", "Ended")]
    assert rented[1:2] in ended


REFUSED = [
    ("limit=0", "limit"),
    ("limit=501", "limit"),
    ("limit=ten", "limit"),
    ("limit=1_0", "limit"),
    ("limit=1.0", "limit"),
    ("limit=%201", "limit"),
    ("limit=", "limit"),
    ("limit=" + "9" * 5000, "limit"),
    ("limit=1&limit=2", "limit"),
    ("active=yes", "active"),
    ("active=", "active"),
    ("phase=running", "phase"),
    ("phase=%00", "phase"),
    ("phase=%ff", "phase"),
    ("cursor=", "cursor"),
    ("cursor=nonsense", "cursor"),
    ("cursor=%E2%82%AC", "cursor"),
    ("cursor=WzEsMl0", "cursor"),  # [1,2]
    ("cursor=WyIxIiwiYSJd", "cursor"),  # ["1","a"]
    ("cursor=WzFlOTksImEiXQ", "cursor"),  # [1e99,"a"]
    ("cursor=WzE4NDQ2NzQ0MDczNzA5NTUxNjE2LCJhIl0", "cursor"),  # [2**64,"a"]
    ("cursor=WzEsIlx1ZDgwMCJd", "cursor"),  # [1,"\ud800"]
    ("cursor=" + "W1tb" * 4000, "cursor"),
    ("limt=5", "limt"),
    ("%ff=1", "\N{REPLACEMENT CHARACTER}"),
]


async def test_a_bad_query_names_the_parameter(platform: Platform) -> None:
    user = await platform.user()
    for query, field in REFUSED:
        reply = await platform.api.call("GET", f"/v1/pods?{query}", token=user.token)
        if len(query) > 8000:
            assert reply.status == 400
            continue
        assert (reply.status, reply.code) == (422, "validation_failed"), query
        assert reply.fields == [field], query


async def test_a_call_without_parameters_takes_none(platform: Platform) -> None:
    reply = await platform.api.call("GET", "/v1/gpu-models?gpu_model=v100")
    assert (reply.status, reply.fields) == (422, ["gpu_model"])
