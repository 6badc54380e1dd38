"""Who is slowed down: an account, a pod or an address that calls too often."""

import asyncio
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgpud.errors import Code, UserError
from kgpud.http_settings import Http
from kgpud.rest.limits import Rates, Semaphores

from .platform import Platform, User


def refused(rates: Rates, caller: str = "a") -> int | None:
    """Make a call; return after how long to come again, None if it was taken."""
    try:
        rates.take(caller)
    except UserError as error:
        return error.retry_after if error.code is Code.RATE_LIMITED else -1
    return None


def test_a_minute_s_calls_at_once_and_then_as_many_a_minute() -> None:
    now = 1000.0
    rates = Rates(60, lambda: now)
    assert [refused(rates) for _ in range(60)] == [None] * 60
    assert refused(rates) == 1
    assert refused(rates, "b") is None
    now += 1.0
    assert [refused(rates), refused(rates)] == [None, 1]
    now += 3600.0
    assert [refused(rates) for _ in range(61)] == [None] * 60 + [1]


@given(
    st.integers(1, 5000),
    st.lists(st.floats(0, 200, allow_nan=False), min_size=1, max_size=300),
)
def test_who_comes_again_when_told_is_taken_and_nobody_gets_more(
    per_minute: int, pauses: list[float]
) -> None:
    now = 0.0
    rates = Rates(per_minute, lambda: now)
    for taken, pause in enumerate(pauses, 1):
        now += pause
        wait = refused(rates)
        if wait is not None:
            assert 1 <= wait <= 61
            now += wait
            assert refused(rates) is None
        assert taken <= per_minute + now * per_minute / 60 + 1e-6


def test_zero_is_any_number() -> None:
    rates = Rates(0)
    assert [refused(rates) for _ in range(1000)] == [None] * 1000


def test_strangers_take_no_memory_without_bound() -> None:
    rates = Rates(1, lambda: 0.0, most=2)
    assert [refused(rates, caller) for caller in "abca"] == [None] * 4
    assert refused(rates, "c") == 60


async def test_who_comes_too_many_waits_and_nobody_else_does() -> None:
    semaphores, here, go_on = Semaphores(2), [], asyncio.Event()

    async def come(caller: str) -> None:
        async with semaphores.held(caller):
            here.append(caller)
            await go_on.wait()

    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(come(caller)) for caller in "aaab"]
        await asyncio.sleep(0)
        assert here == ["a", "a", "b"]
        waiting[2].cancel()
        go_on.set()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(come("a"))
    assert here == ["a", "a", "b", "a", "a"]


async def test_sixteen_bodies_of_one_account_may_be_on_their_way(platform: Platform) -> None:
    user, other = await platform.user(), await platform.user()
    head = (
        "POST /v1/pods HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        "Expect: 100-continue\r\nContent-Length: 100000\r\nAuthorization: Bearer {}\r\n\r\n"
    )

    async def asked(token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
        writer.write(head.format(token).encode())
        return reader, writer

    async with asyncio.timeout(20):
        first = [await asked(user.token) for _ in range(16)]
        for reader, _ in first:
            assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")
        last, last_writer = await asked(user.token)
        there, there_writer = await asked(other.token)
        assert (await there.readline()).startswith(b"HTTP/1.1 100 ")
        # A body that is there already waits for nobody.
        reply = await platform.api.call("POST", "/v1/pods", token=user.token, body={"cpu": "17"})
        assert reply.status == 422
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await last.readline()
        first[0][1].close()
        assert (await last.readline()).startswith(b"HTTP/1.1 100 ")
    for writer in (*(writer for _, writer in first), last_writer, there_writer):
        writer.close()


async def test_an_account_and_its_pods_are_counted_apart(kubeconfig: Path, tmp_path: Path) -> None:
    http = Http(account_calls_per_minute=5)
    async with Platform.on(kubeconfig, tmp_path, http) as platform:
        one, two = await platform.user(), await platform.user()
        pod = await platform.rent(one)
        for status in [200] * 4 + [429]:
            reply = await platform.api.call("GET", "/v1/me", token=one.token)
            assert reply.status == status
        assert reply.code == "rate_limited"
        assert 1 <= int(reply.headers["Retry-After"]) <= 12
        for token in (two.token, platform.tokens.pod_token(pod)):
            assert (await platform.api.call("GET", "/v1/me", token=token)).status == 200
        # Nobody is told from an account by its address alone.
        assert (await platform.api.call("GET", "/v1/gpu-models")).status == 200


async def test_an_account_has_only_so_many_streams_open(kubeconfig: Path, tmp_path: Path) -> None:
    async with Platform.on(kubeconfig, tmp_path, Http(streams_per_account=2)) as platform:
        one, two = await platform.user(), await platform.user()
        pods = {user: await platform.rent(user) for user in (one, two)}

        def follow(user: User) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
            headers = {"Authorization": f"Bearer {user.token}", "Accept": "text/event-stream"}
            url = f"{platform.api.root}/v1/pods/{pods[user]}/events"
            return platform.api.session.get(url, headers=headers)

        async with follow(one) as first, follow(one) as second:
            for stream in (first, second):
                assert (await stream.content.readline()).startswith(b"event: created")
            logs = await platform.api.call("GET", f"/v1/pods/{pods[one]}/logs", token=one.token)
            assert (logs.status, logs.code) == (429, "rate_limited")
            assert logs.headers["Retry-After"] == "1"
            events = f"/v1/pods/{pods[one]}/events"
            waiting = f"/v1/pods/{pods[one]}?wait=ended&timeout=300"
            assert (await platform.api.call("GET", waiting, token=one.token)).status == 429
            async with follow(one) as third:
                assert third.status == 429
            listed = await platform.api.call("GET", events, token=one.token)
            assert listed.body[0]["kind"] == "created"
            async with follow(two) as other:
                assert other.status == 200
            second.close()
            async with asyncio.timeout(10):
                while platform.services.streams.busy(one.account_id) == 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            async with follow(one) as third:
                assert third.status == 200


@pytest.mark.parametrize(
    ("address", "neighbour", "stranger"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
        ("::ffff:203.0.113.7", "203.0.113.7", "::ffff:203.0.113.8"),
    ],
)
async def test_an_address_is_counted_behind_a_trusted_proxy(
    kubeconfig: Path, tmp_path: Path, address: str, neighbour: str, stranger: str
) -> None:
    trusted = Http(address_calls_per_minute=2, trusted_proxies=(ip_network("127.0.0.0/8"),))
    async with Platform.on(kubeconfig, tmp_path, trusted) as platform:

        async def status(*chain: str) -> int:
            headers = {"X-Forwarded-For": ", ".join(chain)}
            return (await platform.api.call("GET", "/v1/gpu-models", headers=headers)).status

        # What the client itself claims stands before what the proxy saw, and isn't believed.
        assert await status(stranger, address) == 200
        assert await status(address, "127.0.0.2") == 200
        assert await status(neighbour) == 429
        assert await status(stranger) == 200
        assert await status("nonsense") == 200


async def test_nobody_else_is_believed(kubeconfig: Path, tmp_path: Path) -> None:
    async with Platform.on(kubeconfig, tmp_path, Http(address_calls_per_minute=1)) as platform:
        headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        for _ in range(3):
            reply = await platform.api.call("GET", "/v1/gpu-models", headers=headers)
            # Loopback is never counted: with a proxy there that isn't named it would be everybody.
            assert reply.status == 200
            assert "Strict-Transport-Security" not in reply.headers


async def test_hsts_behind_tls(kubeconfig: Path, tmp_path: Path) -> None:
    http = Http(trusted_proxies=(ip_network("127.0.0.1/32"),))
    async with Platform.on(kubeconfig, tmp_path, http) as platform:
        for proto, expected in (("https", True), ("http", False), ("https, http", False)):
            headers = {"X-Forwarded-Proto": proto}
            for path in ("/v1/gpu-models", "/v1/me", "/nowhere"):
                reply = await platform.api.call("GET", path, headers=headers)
                assert ("Strict-Transport-Security" in reply.headers) == expected
