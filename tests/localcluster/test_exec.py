import asyncio
import hashlib
import json
import re
from typing import Any

import aiohttp
import pytest

from .clusters import WITHIN, Api, Result, finish, recorded_status, until

V4 = "v4.channel.k8s.io"


def _without_id(document: Any) -> Any:
    return json.loads(re.sub(r"[0-9a-f]{64}", "ID", json.dumps(document)))


@pytest.mark.parametrize("version", ["v4", "v5"])
@pytest.mark.parametrize(
    ("case", "argv"),
    [
        ("exit0_silent", ["true"]),
        ("exit3", ["sh", "-c", "echo bye; exit 3"]),
        ("exit255", ["sh", "-c", "exit 255"]),
        ("sig15", ["sh", "-c", "kill -15 $$"]),
        ("sig9", ["sh", "-c", "kill -9 $$"]),
        ("sh_127", ["sh", "-c", "nosuchcmd"]),
        ("cmd_not_found", ["nosuchcmd", "a"]),
        ("cmd_not_found_abs", ["/no/such"]),
        ("cmd_is_dir", ["/tmp"]),
        ("cmd_not_executable", ["/etc/passwd"]),
        ("cmd_empty_string", [""]),
        ("no_command", []),
    ],
)
async def test_the_end_of_a_command_is_told_as_recorded(
    api: Api, full: str, case: str, argv: list[str], version: str
) -> None:
    result = await api.execute(full, *argv, protocol=f"{version}.channel.k8s.io")
    assert _without_id(result.status) == _without_id(recorded_status(f"{case}.{version}"))
    assert result.first == b"\x01"
    assert result.close_code == 1000


async def test_a_missing_scp_in_the_bare_image(api: Api, bare: str) -> None:
    result = await api.execute(bare, "scp", "-t", "/tmp")
    assert _without_id(result.status) == _without_id(recorded_status("bare_scp_missing.v5"))


async def test_streams_are_kept_apart_and_come_before_the_status(api: Api, full: str) -> None:
    result = await api.execute(full, "sh", "-c", "echo out; echo err >&2")
    assert (result.out, result.err, result.code) == (b"out\n", b"err\n", 0)
    only = await api.execute(full, "sh", "-c", "echo out; echo err >&2; exit 2", stderr=False)
    assert (only.out, only.err, only.code) == (b"out\n", b"", 2)


async def test_the_streams_are_opened_by_name_too(api: Api, full: str) -> None:
    result = await api.execute(full, "sh", "-c", "echo out >/dev/stdout; echo err >/dev/stderr")
    assert (result.out, result.err, result.code) == (b"out\n", b"err\n", 0)


async def test_post_upgrades_too(api: Api, full: str) -> None:
    assert (await api.execute(full, "echo", "x", method="POST")).out == b"x\n"


async def test_without_stdin_a_command_reads_the_end(api: Api, full: str) -> None:
    assert (await api.execute(full, "sh", "-c", "cat; echo rc $?")).out == b"rc 0\n"


async def test_only_the_close_frame_ends_stdin(api: Api, full: str) -> None:
    async with asyncio.timeout(WITHIN), api.connect(full, "cat", stdin=True) as socket:
        await socket.send_bytes(b"\0one\n")
        await socket.send_bytes(b"\0")
        await socket.send_bytes(b"\xff\x01")
        await socket.send_bytes(b"\0two\n")
        await socket.send_bytes(b"\xff\0")
        await socket.send_bytes(b"\xff\0")
        await socket.send_bytes(b"\0late\n")
        result = await finish(socket)
    assert (result.out, result.code) == (b"one\ntwo\n", 0)


async def test_v4_has_no_end_of_stdin(api: Api, full: str) -> None:
    async with asyncio.timeout(WITHIN), api.connect(full, "cat", stdin=True, protocol=V4) as socket:
        await socket.send_bytes(b"\xff\0")
        await socket.send_bytes(b"\0still\n")
        result = Result()
        while b"still" not in result.out:
            result.take((await socket.receive()).data)


async def test_one_stdin_message_of_32_mib(api: Api, full: str) -> None:
    body = bytes(range(256)) * (1 << 17)
    result = await api.execute(full, "md5sum", stdin=body[:-1])
    assert result.out.split()[0].decode() == hashlib.md5(body[:-1]).hexdigest()


async def test_much_output_arrives_whole_in_small_messages(api: Api, full: str) -> None:
    script = "import sys\nfor i in range(1 << 19): sys.stdout.write(f'{i:015}\\n')"
    result = await api.execute(full, "python3", "-c", script)
    wanted = b"".join(b"%015d\n" % number for number in range(1 << 19))
    assert hashlib.md5(result.out).digest() == hashlib.md5(wanted).digest()
    assert result.longest <= 32769


async def test_pings_are_answered_while_stdin_is_not_read(api: Api, own: str) -> None:
    async with asyncio.timeout(WITHIN), api.connect(own, "sleep", "60", stdin=True) as socket:
        for _ in range(30):
            await socket.send_bytes(b"\0" + b"x" * 65535)
        await socket.ping(b"hol")
        assert (await socket.receive(timeout=WITHIN)).data == b"\x01"
        await _pong(socket)


async def _pong(socket: aiohttp.ClientWebSocketResponse) -> None:
    """The client swallows pongs by itself: a heartbeat of its own would fail without."""
    socket._autoping = False
    await socket.ping(b"two")
    for _ in range(2):
        message = await socket.receive(timeout=WITHIN)
        assert message.type is aiohttp.WSMsgType.PONG


async def test_unread_stdin_blocks_the_client_and_the_status_still_comes(
    api: Api, full: str
) -> None:
    script = "until [ -e /tmp/unread ]; do sleep 0.02; done; rm /tmp/unread"
    async with asyncio.timeout(WITHIN), api.connect(full, "sh", "-c", script, stdin=True) as socket:
        with pytest.raises(TimeoutError):
            for _ in range(128):
                async with asyncio.timeout(0.3):
                    await socket.send_bytes(b"\0" + b"x" * (1 << 20))
        await api.execute(full, "touch", "/tmp/unread")
        assert (await finish(socket)).code == 0


async def test_a_client_that_does_not_read_blocks_the_command(api: Api, full: str) -> None:
    script = "rm -f /tmp/slow; head -c 60000000 /dev/zero; touch /tmp/slow"
    async with asyncio.timeout(WITHIN), api.connect(full, "sh", "-c", script) as socket:
        await asyncio.sleep(0.5)
        assert (await api.execute(full, "test", "-e", "/tmp/slow")).code == 1
        total = 0
        async for message in socket:
            total += len(message.data) - 1 if message.data[0] == 1 else 0
    assert total == 60_000_000


async def test_a_terminal_its_size_and_its_end(api: Api, full: str) -> None:
    async with asyncio.timeout(WITHIN), api.connect(full, "sh", stdin=True, tty=True) as socket:
        result = Result()

        async def said(text: bytes) -> None:
            while text not in result.out:
                result.take((await socket.receive()).data)

        await socket.send_bytes(b"\0tty; stty size; echo $TERM; ps -o tty= -p $$\r")
        await said(b"xterm\r\npts/0")
        assert b"/dev/pts/0" in result.out
        assert b"0 0\r\n" in result.out
        await socket.send_bytes(b'\x04{"Width":132,"Height":50}')
        await socket.send_bytes(b"\x04garbage")
        await socket.send_bytes(b"\xff\0")
        await socket.send_bytes(b"\0stty size; exit 4\r")
        await said(b"50 132\r\n")
        assert (await finish(socket, result)).code == 4


async def test_an_interrupt_on_a_terminal(api: Api, full: str) -> None:
    script = "trap 'echo got; exit 9' INT; echo up; while :; do sleep 0.05; done"
    async with (
        asyncio.timeout(WITHIN),
        api.connect(full, "sh", "-c", script, stdin=True, tty=True) as socket,
    ):
        result = Result()
        while b"up" not in result.out:
            result.take((await socket.receive()).data)
        await socket.send_bytes(b"\0\x03")
        assert (await finish(socket, result)).code == 9
    assert b"got" in result.out


async def test_a_background_job_holds_the_stream_a_detached_one_does_not(
    api: Api, own: str
) -> None:
    held = await api.execute(own, "sh", "-c", "(sleep 0.5; echo late) & echo main; exit 5")
    assert (held.out, held.code) == (b"main\nlate\n", 5)
    script = "setsid sleep 60 >/dev/null 2>&1 </dev/null & exit 5"
    async with asyncio.timeout(5):
        assert (await api.execute(own, "sh", "-c", script)).code == 5


@pytest.mark.parametrize("job", ["sleep 60", "setsid sleep 60", "yes"])
async def test_a_terminal_ends_with_its_command_whoever_has_it(
    api: Api, own: str, job: str
) -> None:
    script = f"trap '' HUP; {job} & printf %100000s; echo end; exit 5"
    async with asyncio.timeout(WITHIN):
        async with api.connect(own, "sh", "-c", script, stdin=True, tty=True) as socket:
            ended = await finish(socket, Result())
    assert ended.code == 5
    assert b"end\r\n" in ended.out


async def test_every_command_leads_a_session(api: Api, full: str) -> None:
    script = "import os; print(os.getsid(0) == os.getpid(), sorted(os.listdir('/proc/self/fd')))"
    result = await api.execute(full, "python3", "-c", script)
    assert result.out == b"True ['0', '1', '2', '3']\n"


async def test_a_command_of_100_kb(api: Api, full: str) -> None:
    text = "ä\n'\"" * 20_000
    result = await api.execute(full, "printf", "%s", text)
    assert result.out.decode() == text


@pytest.mark.parametrize("tty", [False, True])
async def test_a_client_that_leaves_ends_stdin_and_nothing_else(
    api: Api, own: str, tty: bool
) -> None:
    mark = f"/tmp/left-{tty}"
    script = f"rm -f {mark} {mark}-end; touch {mark}; cat >/dev/null; touch {mark}-end; sleep 61"
    async with api.connect(own, "sh", "-c", script, stdin=True, tty=tty) as socket:
        assert (await socket.receive()).data == b"\x01"
        while (await api.execute(own, "test", "-e", mark)).code:
            pass
    for _ in range(1 if tty else 100):
        ended = (await api.execute(own, "test", "-e", f"{mark}-end")).code == 0
        if ended:
            break
    assert ended is not tty
    processes = await api.execute(own, "pgrep", "-cf", "sleep 61$" if not tty else f"touch {mark}")
    assert int(processes.out) >= 1


async def test_a_pod_that_is_killed_ends_its_execs_with_137(api: Api) -> None:
    await api.ready("killed")
    async with asyncio.timeout(WITHIN), api.connect("killed", "sleep", "60") as socket:
        assert (await socket.receive()).data == b"\x01"
        await api.delete("killed", grace=3)
        result = await finish(socket)
    assert result.code == 137


async def test_a_dead_container_is_not_found(api: Api) -> None:
    await api.ready("dead")
    assert (await api.execute("dead", "kill", "-TERM", "1")).code in (0, 137)
    await api.wait("dead", lambda pod: pod["status"]["phase"] == "Failed")
    status, text = await _refusal(api, "dead", {"command": "true", "stdout": "true"})
    assert (status, text) == (500, 'container not found ("main")')


async def test_upgrades_that_are_refused(api: Api, full: str) -> None:
    status, text = await _refusal(api, "nopod", {"command": "true", "stdout": "true"})
    assert status == 404
    assert json.loads(text)["message"] == 'pods "nopod" not found'
    status, text = await _refusal(api, full, {"command": "true"})
    assert (status, text) == (400, "you must specify at least 1 of stdin, stdout, stderr")
    status, text = await _refusal(api, full, {"stdout": "true", "container": "nope"})
    assert json.loads(text)["message"] == f"container nope is not valid for pod {full}"
    status, text = await _refusal(api, full, {"stdout": "true"}, protocol="foo.bar")
    assert (status, text) == (403, "")
    answer = await api.call("GET", f"pods/{full}/exec", params={"stdout": "true"})
    assert answer[1]["message"] == "Upgrade request required"


async def _refusal(
    api: Api, name: str, query: dict[str, str], protocol: str = "v5.channel.k8s.io"
) -> tuple[int, str]:
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": protocol,
    }
    path = f"/api/v1/namespaces/kgpu/pods/{name}/exec"
    async with api.session.get(path, params=query, headers=headers) as response:
        return response.status, await response.text()


async def test_many_at_once(api: Api, full: str) -> None:
    results: list[Result] = []

    async def one(number: int) -> None:
        results.append(await api.execute(full, "sh", "-c", f"echo {number}; exit {number}"))

    async with asyncio.TaskGroup() as group:
        for number in range(1, 33):
            group.create_task(one(number))
    await until(lambda: len(results) == 32)
    assert all(int(result.out) == result.code for result in results)
