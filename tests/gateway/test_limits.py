"""A bastion's limits as clients meet them: dropped without a word, or told why."""

import asyncio
import socket
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.admission import Admission, Limits, Visit
from gateway.listener import Listener
from gateway.penalties import Penalties
from gateway.protocols import SessionClosed

from .doors import Door, Key, Table, asking, door, make_key, signed
from .fake_api import eventually
from .raw_client import (
    CHANNEL_CLOSE,
    CHANNEL_CONFIRMED,
    CHANNEL_REFUSED,
    REQUEST_FAILURE,
    USERAUTH_SUCCESS,
    Closed,
    RawClient,
    global_request,
    session_open,
    strings,
)

NO_PENALTIES = Penalties(maximum=0.0)


def pinned(front: Door) -> Key:
    key = make_key()
    front.core.rentals[key.name] = "rental"
    return key


async def let_in(client: RawClient, key: Key) -> None:
    await client.send(signed(client, key))
    assert await client.receive() == bytes([USERAUTH_SUCCESS])


async def dropped(port: int) -> bool:
    try:
        async with RawClient.connected(port):
            return False
    except Closed:
        return True


async def test_a_full_house_drops_who_comes_and_takes_the_next_when_one_leaves(
    tmp_path: Path,
) -> None:
    limits = Limits(startups_begin=3, startups_full=3, penalties=NO_PENALTIES)
    async with (
        door(tmp_path, limits) as front,
        RawClient.connected(front.port),
        RawClient.ready(front.port),
    ):
        async with RawClient.connected(front.port):
            assert await dropped(front.port)
        async with asyncio.timeout(20):
            while await dropped(front.port):
                pass


async def test_the_time_to_log_in_is_bounded_at_every_stage(tmp_path: Path) -> None:
    async with door(tmp_path, Limits(login_seconds=0.5)) as front:
        key = pinned(front)
        async with (
            RawClient.ready(front.port) as inside,
            RawClient.connected(front.port) as silent,
            RawClient.connected(front.port) as halfway,
            RawClient.ready(front.port) as keyless,
            RawClient.ready(front.port) as asking_on,
        ):
            await let_in(inside, key)
            await halfway.send(halfway.kexinit())
            await asking_on.send(asking(key.blob))
            began = time.monotonic()
            for client in (silent, halfway, keyless, asking_on):
                await client.ends()
            assert time.monotonic() - began < 15
            # Whoever is in may stay.
            await inside.open_session()


async def test_who_shares_an_address_with_a_fool_gets_in(tmp_path: Path) -> None:
    limits = Limits(startups_per_source=2, key_exchanges_per_second=1000)
    async with door(tmp_path, limits) as front:
        key = pinned(front)
        async with RawClient.ready(front.port) as before:
            await let_in(before, key)
        async with (
            RawClient.connected(front.port),
            RawClient.connected(front.port),
            RawClient.ready(front.port) as client,
        ):
            await let_in(client, key)
            await client.open_session()
            # One of the two had to go for it.
            connections = front.bastion._connections
            await eventually(lambda: sum(one._transport is not None for one in connections) == 2)


async def test_sessions_on_a_connection_however_fast_they_are_opened(tmp_path: Path) -> None:
    async with door(tmp_path) as front:
        key = pinned(front)
        async with RawClient.ready(front.port) as client:
            await let_in(client, key)
            for number in range(14):
                client.put(session_open(number))
            await client.flush()
            answers = [await client.receive() for _ in range(14)]
    kinds = [answer[0] for answer in answers]
    assert sorted(kinds) == [CHANNEL_CONFIRMED] * 10 + [CHANNEL_REFUSED] * 4
    [why] = {strings(answer[9:])[0] for answer in answers if answer[0] == CHANNEL_REFUSED}
    assert why == b"at most 10 sessions on one connection"


async def test_sessions_and_connections_with_one_key(tmp_path: Path) -> None:
    limits = Limits(connections_per_key=2, sessions_per_key=3)
    async with door(tmp_path, limits) as front:
        key = pinned(front)
        async with (
            RawClient.ready(front.port) as one,
            RawClient.ready(front.port) as two,
            RawClient.ready(front.port) as three,
        ):
            for client in (one, two):
                await let_in(client, key)
            await three.send(signed(three, key))
            assert await three.ends() == "at most 2 connections with one key"
            for client in (one, one, two):
                await client.send(session_open())
                assert (await client.receive())[0] == CHANNEL_CONFIRMED
            await two.send(session_open(1))
            refused = await two.receive()
            assert refused[0] == CHANNEL_REFUSED
            assert strings(refused[9:])[0] == b"at most 3 sessions with one key"
        # They left: there is room again.
        async with asyncio.timeout(20):
            while True:
                async with RawClient.ready(front.port) as again:
                    await again.send(signed(again, key))
                    if (await again.receive())[0] == USERAUTH_SUCCESS:
                        break


async def test_sessions_too_fast_wait_their_turn(tmp_path: Path) -> None:
    limits = Limits(sessions_per_key=2, sessions_per_second=0.001)
    async with door(tmp_path, limits) as front:
        key = pinned(front)
        async with RawClient.ready(front.port) as client:
            await let_in(client, key)
            for number in range(2):
                await client.send(session_open(number))
                channel = (await client.receive())[5:9]
                await client.send(bytes([CHANNEL_CLOSE]) + channel)
                assert (await client.receive())[0] == CHANNEL_CLOSE
            # Everything else is answered meanwhile.
            await client.send(session_open(2))
            await client.send(global_request(b"what"))
            assert (await client.receive())[0] == REQUEST_FAILURE
        # Who leaves waits no more.
        await eventually(lambda: not front.bastion._admission._sessions)


async def test_a_session_counts_until_what_it_left_in_its_pod_is_ended(tmp_path: Path) -> None:
    class Slow(Table):
        ended = asyncio.Event()

        async def closed(self, session: SessionClosed) -> None:
            await self.ended.wait()
            await super().closed(session)

    async with door(tmp_path, Limits(sessions_per_key=1), Slow()) as front:
        key = pinned(front)
        async with RawClient.ready(front.port) as client:
            await let_in(client, key)
            await client.open_session()
        await eventually(lambda: all(one.is_closed() for one in front.bastion._connections))
        async with RawClient.ready(front.port) as again:
            await let_in(again, key)
            await again.send(session_open())
            assert (await again.receive())[0] == CHANNEL_REFUSED
            Slow.ended.set()
            await eventually(lambda: front.core.closed_by)
            await again.send(session_open())
            assert (await again.receive())[0] == CHANNEL_CONFIRMED


async def test_key_exchanges_wait_their_turn_and_all_get_it(tmp_path: Path) -> None:
    limits = Limits(key_exchanges_per_second=5, penalties=NO_PENALTIES)
    async with door(tmp_path, limits) as front:
        began = time.monotonic()

        async def come() -> None:
            async with RawClient.ready(front.port):
                pass

        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(come())
        # Five at once, then one every fifth of a second.
        assert time.monotonic() - began >= 0.9


async def test_a_key_exchange_after_login_is_fine_and_before_it_is_not(tmp_path: Path) -> None:
    async with door(tmp_path) as front:
        key = pinned(front)
        async with RawClient.ready(front.port) as client, RawClient.ready(front.port) as early:
            await let_in(client, key)
            await client.exchange_keys()
            await client.exchange_keys()
            await client.open_session()
            await early.send(early.kexinit())
            assert "before authentication" in await early.ends()


async def test_what_a_client_sends_ahead_is_left_in_the_kernel(tmp_path: Path) -> None:
    """A connection that waits for its turn must not be read on meanwhile."""
    limits = Limits(key_exchanges_per_second=0.01, penalties=NO_PENALTIES)
    async with (
        door(tmp_path, limits) as front,
        RawClient.connected(front.port) as first,
        RawClient.connected(front.port) as second,
    ):
        await first.exchange_keys()
        await second.send(second.kexinit())
        second.send_bare(bytes(100_000_000))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await second._writer.drain()


async def test_an_accept_that_fails_is_told_and_tried_again_later() -> None:
    async def serve(client: socket.socket, visit: Visit) -> None:
        pytest.fail(f"{visit} came by {client}")

    loop, crashed = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: crashed.append(context))
    deaf = socket.socket()  # it doesn't listen: whatever accept(2) says
    deaf.bind(("127.0.0.1", 0))
    async with asyncio.TaskGroup() as tasks:
        listener = Listener(deaf, Admission(Limits(), time.monotonic), serve, tasks)
        with capture_logs() as logs:
            listener.open()
            await eventually(lambda: logs)
            listener.close()
    assert [line["event"] for line in logs] == ["ssh.accept_failed"]
    assert not crashed
