"""Whatever a client says once it is in: at worst its connection ends; nothing of ours breaks."""

import asyncio
import struct
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from .raw_client import CHANNEL_OPEN, CHANNEL_REQUEST, Closed, string
from .through import cat, data, echoed, through

NAMES = [
    *(b"session", b"direct-tcpip", b"exec", b"shell", b"subsystem", b"sftp", b"pty-req", b"xterm"),
    *(b"env", b"TERM", b"window-change", b"signal", b"break", b"xon-xoff", b"exit-status"),
    *(b"x11-req", b"auth-agent-req@openssh.com", b"eow@openssh.com", b"keepalive@openssh.com"),
    *(b"tcpip-forward", b"cancel-tcpip-forward", b"no-more-sessions@openssh.com"),
    *(b"hostkeys-00@openssh.com", b"hostkeys-prove-00@openssh.com", b"\xff\xfe", b""),
]
# Transport, key exchange, authentication, connection, nobody's. A DISCONNECT ends it as it should.
TYPES = [2, 3, 4, 5, 6, 7, 20, 21, 30, 50, 60, *range(80, 83), *range(90, 101), 150, 192]

names = st.one_of(st.sampled_from(NAMES), st.binary(max_size=40)).map(string)
numbers = st.sampled_from([0, 1, 2, 9, 2**21, 2**31, 2**32 - 1]).map(lambda n: struct.pack(">I", n))
fields = st.lists(st.one_of(names, numbers, st.binary(max_size=1)), max_size=6).map(b"".join)
packets = st.one_of(
    st.builds(lambda kind, rest: bytes([kind]) + rest, st.sampled_from(TYPES), fields),
    st.builds(
        lambda number, name, reply, rest: (
            bytes([CHANNEL_REQUEST, 0, 0, 0, number]) + name + bytes([reply]) + rest
        ),
        *(st.integers(0, 1), names, st.booleans(), fields),
    ),
    st.builds(
        lambda window, size: bytes([CHANNEL_OPEN]) + string(b"session") + bytes(4) + window + size,
        *(numbers, numbers),
    ),
    st.just(b""),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(packets, min_size=1, max_size=15))
@example([b""])
@example([bytes([CHANNEL_REQUEST])])
def test_nothing_breaks(tmp_path: Path, said: list[bytes]) -> None:
    async def check() -> None:
        async with through(tmp_path, cat) as bench, bench.raw() as other:
            with capture_logs() as logs, suppress(Closed):
                async with bench.raw() as client:
                    for packet in said:
                        client.put(packet)
                    await client.flush()
                    await client.send(b"")  # no packet at all: it ends here at the latest
                    await client.ends()
            assert [entry for entry in logs if entry["log_level"] == "error"] == []
            await other.send(data(b"unharmed"))
            assert await echoed(other, 8) == b"unharmed"

    asyncio.run(check())
