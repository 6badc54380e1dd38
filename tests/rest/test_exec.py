"""One-shot commands: what comes back, what bounds them, and that they end with their caller."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway import capture
from gateway.executor import Executor
from gateway.protocols import PodRef
from kgpud.cluster.pods import CONTAINER
from kgpud.http_settings import Http

from .platform import Platform, User


async def exec_ready(platform: Platform) -> tuple[User, str]:
    user = await platform.user()
    pod_id = await platform.rent(user, gpu_count=0)
    await platform.ready(user, pod_id)
    return user, pod_id


async def run(platform: Platform, on: tuple[User, str], *cmd: str, **more: Any) -> Any:
    reply = await platform.exec(*on, list(cmd), **more)
    assert reply.status == 200, reply.body
    assert set(reply.body) == {
        *("exit_code", "stdout", "stderr", "duration_ms", "truncated", "timed_out"),
    }
    return reply.body


async def test_exec(platform: Platform) -> None:
    on = await exec_ready(platform)
    said = await run(platform, on, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (said["exit_code"], said["stdout"], said["stderr"]) == (7, "out\n", "err\n")
    assert (said["truncated"], said["timed_out"]) == (False, False)
    assert 0 < said["duration_ms"] < 10_000
    said = await run(platform, on, "cat", stdin="grüße\n")
    assert said["stdout"] == "grüße\n"
    said = await run(platform, on, "printf", r"a\377b")
    assert said["stdout"] == "a\ufffdb"
    said = await run(platform, on, "no-such-program")
    assert said["exit_code"] == 127


async def test_the_log_says_who_ran_something_where_and_not_what(
    platform: Platform, capfd: pytest.CaptureFixture[str]
) -> None:
    on = await exec_ready(platform)
    await run(platform, on, "sh", "-c", "cat; exit 7 # nobody's business", stdin="nor this")
    logged = "".join(capfd.readouterr())
    [line] = [json.loads(one) for one in logged.splitlines() if '"command.begun"' in one]
    user, pod_id = on
    me = (await platform.api.call("GET", "/v1/me", token=user.token)).body
    assert (line["pod_id"], line["account"]) == (pod_id, me["user_id"])
    assert (line["peer"], len(line["request_id"])) == ("127.0.0.1", 16)
    assert not [what for what in ("business", "nor this", user.token) if what in logged]


async def test_exec_at_its_limits(platform: Platform) -> None:
    on = await exec_ready(platform)
    said = await run(platform, on, "wc", "-c", stdin="\1" * (1 << 20))
    assert said["stdout"].strip() == str(1 << 20)
    said = await run(platform, on, "sh", "-c", "head -c 524288 /dev/zero | tee /dev/stderr")
    assert (len(said["stdout"]), len(said["stderr"]), said["truncated"]) == (
        1 << 19,
        1 << 19,
        False,
    )
    said = await run(platform, on, "head", "-c", "1048577", "/dev/zero")
    assert (len(said["stdout"]), said["truncated"]) == (1 << 20, True)
    said = await run(platform, on, "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' a")
    assert (said["exit_code"], said["truncated"]) == (0, True)
    assert len(said["stdout"]) == 1 << 20
    said = await run(platform, on, "sh", "-c", "echo begun; sleep 60", timeout_seconds=1)
    assert (said["exit_code"], said["timed_out"], said["stdout"]) == (124, True, "begun\n")


async def test_exec_before_ready_is_409(platform: Platform) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user, gpu_count=0)
    reply = await platform.exec(user, pod_id, ["true"])
    # It may have become ready that fast.
    assert reply.status == 200 or (reply.status, reply.code) == (409, "pod_not_ready")


async def test_bytes_that_are_no_text_go_both_ways(platform: Platform) -> None:
    on = await exec_ready(platform)
    given = bytes(range(256)) * 16
    sent = base64.b64encode(given).decode()
    both = ["sh", "-c", "cat >/tmp/in; cat /tmp/in; cat /tmp/in >&2"]
    reply = await platform.exec(*on, both, stdin_base64=sent, output_base64=True)
    assert base64.b64decode(reply.body["stdout_base64"]) == given
    assert base64.b64decode(reply.body["stderr_base64"]) == given
    assert reply.body["stdout"] == given.decode(errors="replace")


async def test_characters_are_whole_wherever_the_output_is_cut(platform: Platform) -> None:
    on = await exec_ready(platform)
    # Three bytes each, and one before them: no piece of 64 KiB ends with a whole one.
    sent = "a" + "€" * 100_000
    assert (await run(platform, on, "cat", stdin=sent))["stdout"] == sent
    cut = base64.b64encode(sent.encode()[:-1]).decode()
    said = await run(platform, on, "cat", stdin_base64=cut)
    assert said["stdout"] == sent[:-1] + "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"stdin_base64": "a"}, "stdin_base64"),
        ({"stdin_base64": "YQ==\n"}, "stdin_base64"),
        ({"stdin_base64": "ä"}, "stdin_base64"),
        ({"stdin_base64": base64.b64encode(bytes((1 << 20) + 1)).decode()}, "stdin_base64"),
        ({"stdin": "a", "stdin_base64": "YQ=="}, ""),
        ({"output_base64": 1}, "output_base64"),
    ],
)
async def test_a_bad_exec_names_the_field(
    platform: Platform, more: dict[str, Any], field: str
) -> None:
    user = await platform.user()
    reply = await platform.exec(user, "gpu-none-1-abcdef", ["cat"], **more)
    assert (reply.status, reply.fields) == (422, [field])


async def test_a_megabyte_of_base64_is_taken(platform: Platform) -> None:
    on = await exec_ready(platform)
    sent = base64.b64encode(bytes(1 << 20)).decode()
    said = await run(platform, on, "wc", "-c", stdin_base64=sent)
    assert said["stdout"].strip() == str(1 << 20)


async def test_what_a_pod_is_told(platform: Platform) -> None:
    on = await exec_ready(platform)
    names = ("KGPU_API_BASE", "KGPU_GPU_ID", "KGPU_RENT_ID", "NVIDIA_VISIBLE_DEVICES")
    said = await run(platform, on, "printenv", *names)
    base = said["stdout"].splitlines()[0]
    assert base.startswith("http://127.0.0.1")
    assert base.endswith("/v1")
    assert said["stdout"].splitlines()[1:] == [on[1], on[1], "void"]


STAYS = "trap '' HUP INT TERM; echo $$ >/tmp/pid; while :; do sleep 1; done"
GONE = 'while kill -0 "$(cat /tmp/pid)" 2>&-; do sleep 0.02; done; echo gone'


async def test_past_its_time_a_command_dies_whatever_it_ignores(platform: Platform) -> None:
    on = await exec_ready(platform)
    said = await run(platform, on, "sh", "-c", STAYS, timeout_seconds=1)
    assert (said["exit_code"], said["timed_out"]) == (124, True)
    assert (await run(platform, on, "sh", "-c", GONE))["stdout"] == "gone\n"


@asynccontextmanager
async def begun(platform: Platform, on: tuple[User, str], command: str) -> AsyncIterator[None]:
    """Ask for a command over a connection that is cut when the block ends."""
    user, pod_id = on
    body = json.dumps({"cmd": ["sh", "-c", command]})
    head = (
        f"POST /v1/pods/{pod_id}/exec HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {user.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    writer.write((head + body).encode())
    try:
        yield
    finally:
        writer.transport.abort()


async def test_a_command_ends_with_its_caller(platform: Platform) -> None:
    on = await exec_ready(platform)
    async with begun(platform, on, STAYS):
        await run(platform, on, "sh", "-c", "until [ -s /tmp/pid ]; do sleep 0.02; done")
    assert (await run(platform, on, "sh", "-c", GONE))["stdout"] == "gone\n"


async def test_a_caller_who_goes_at_once_leaves_nothing_behind(platform: Platform) -> None:
    on = await exec_ready(platform)
    for delay in (0.0, 0.002, 0.005, 0.01, 0.02):
        async with begun(platform, on, "exec sleep 4321"):
            await asyncio.sleep(delay)
    left = "while grep -lsa '^sleep.4321' /proc/[0-9]*/cmdline; do sleep 0.05; done; echo none"
    said = await run(platform, on, "sh", "-c", left, timeout_seconds=20)
    assert said["stdout"].endswith("none\n"), said


async def test_one_pod_runs_only_so_many_at_a_time(kubeconfig: Path, tmp_path: Path) -> None:
    async with Platform.on(kubeconfig, tmp_path, Http(execs_per_pod=2)) as platform:
        on = await exec_ready(platform)
        other = on[0], await platform.rent(on[0])
        await platform.ready(*other)
        until = "echo >>/tmp/begun; until [ -e /tmp/stop ]; do sleep 0.02; done"
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(run(platform, on, "sh", "-c", until)) for _ in range(2)]
            async with asyncio.timeout(20):
                while platform.services.execs.busy(on[1]) < 2:  # noqa: ASYNC110 - the API's own
                    await asyncio.sleep(0.01)
            refused = await platform.exec(*on, ["true"])
            assert (refused.status, refused.code) == (429, "too_many_execs")
            assert refused.headers["Retry-After"] == "1"
            assert (await run(platform, other, "true"))["exit_code"] == 0
            await stop(platform, on)
        assert [task.result()["exit_code"] for task in both] == [0, 0]
        assert (await run(platform, on, "true"))["exit_code"] == 0


async def stop(platform: Platform, on: tuple[User, str]) -> None:
    """Let the commands end that wait for a file: past the API, which takes no more of them."""
    pod = PodRef(platform.services.namespace, on[1], CONTAINER)
    done = await capture.run(
        Executor(platform.cluster), pod, ["touch", "/tmp/stop"], output_limit=100, timeout=20
    )
    assert done.exit_code == 0
