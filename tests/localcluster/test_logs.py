import asyncio
import re
import time
from typing import Any

import pytest

from kgpud.localcluster import log_query
from kgpud.localcluster.container_log import ContainerLog

from .clusters import WITHIN, Api, is_ready

COUNTING = ["sh", "-c", "for i in 1 2 3; do echo line $i; done; printf rest; exec sleep 1000"]
MESSAGE = "some text that is not so short\n"


def _running(document: dict[str, Any]) -> bool:
    statuses = document["status"].get("containerStatuses") or [{"state": {}}]
    return "running" in statuses[0]["state"]


async def _log(api: Api, name: str, **query: str) -> str:
    path = f"/api/v1/namespaces/kgpu/pods/{name}/log"
    async with api.session.get(path, params=query) as response:
        text = await response.text()
        assert response.status == 200, text
        assert response.headers["Content-Type"] == "text/plain"
        return text


async def test_a_log_is_told_in_part_and_with_times(api: Api) -> None:
    await api.ready("counting", image="bare:latest", command=COUNTING)
    async with asyncio.timeout(WITHIN):
        while len(await _log(api, "counting")) < 21:  # noqa: ASYNC110  (a server's state)
            await asyncio.sleep(0.01)
    assert await _log(api, "counting") == "line 1\nline 2\nline 3\n"
    assert await _log(api, "counting", tailLines="2") == "line 2\nline 3\n"
    assert await _log(api, "counting", tailLines="0") == ""
    assert await _log(api, "counting", tailLines="9", limitBytes="9") == "line 1\nli"
    stamped = (await _log(api, "counting", timestamps="true")).splitlines()
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (line \d)"
    found = [re.fullmatch(form, line) for line in stamped]
    assert [one and one[1] for one in found] == ["line 1", "line 2", "line 3"]
    assert await _log(api, "counting", sinceTime=stamped[0].split()[0]) != ""
    assert await _log(api, "counting", sinceTime="2100-01-01T00:00:00Z") == ""
    assert (await _log(api, "counting", sinceTime="2020-01-01T00:00:00Z")).count("\n") == 3
    assert (await _log(api, "counting", sinceSeconds="3600")).count("\n") == 3
    await api.delete("counting")


def test_a_lines_own_moment_never_leaves_that_line_out() -> None:
    for moment in range(1_795_000_000_123_456_000, 1_795_000_000_124_456_000, 7_919):
        seconds, rest = divmod(moment, 1_000_000_000)
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
        since = log_query.read({"sinceTime": text}).since
        assert since is not None
        assert moment - 1000 < since <= moment


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("tailLines=x", 400, 'parsing "x": invalid syntax'),
        ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0"),
        ("sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z", 422, "at most one of"),
        ("sinceTime=yesterday", 400, 'parsing time "yesterday"'),
        ("previous=true", 400, 'previous terminated container "main" in pod "shared-bare" not'),
    ],
)
async def test_a_log_that_cannot_be_is_refused(
    api: Api, bare: str, query: str, status: int, words: str
) -> None:
    answer = await api.call("GET", f"pods/{bare}/log?{query}")
    assert (answer[0], answer[1]["code"]) == (status, status)
    assert words in answer[1]["message"]


async def test_a_pod_that_waits_has_no_log(api: Api) -> None:
    await api.create("unplaced", nodeSelector={"no": "where"})
    status, answer = await api.call("GET", "pods/unplaced/log")
    assert (status, answer["message"]) == (400, "pod unplaced does not have a host assigned")
    await api.create("unpulled", image="none:1", imagePullPolicy="Never")
    await api.wait("unpulled", lambda one: "ErrImageNeverPull" in str(one["status"]))
    status, answer = await api.call("GET", "pods/unpulled/log")
    said = 'container "main" in pod "unpulled" is waiting to start: ErrImageNeverPull'
    assert (status, answer["message"]) == (400, said)
    for name in ("unplaced", "unpulled"):
        await api.delete(name)


async def test_a_log_is_followed_to_the_end_and_kept_for_the_next_run(api: Api) -> None:
    script = 'echo began; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo "said it"; printf end'
    await api.create(
        "ending", image="bare:latest", command=["sh", "-c", script], restartPolicy="OnFailure"
    )
    await api.wait("ending", _running)
    path = "/api/v1/namespaces/kgpu/pods/ending/log"
    async with asyncio.timeout(WITHIN), api.session.get(path, params={"follow": "1"}) as response:
        assert await response.content.readline() == b"began\n"
        assert (await api.execute("ending", "touch", "/tmp/go")).code == 0
        assert await response.content.read() == b"said it\nend"
    await api.wait("ending", lambda one: one["status"]["phase"] == "Succeeded")
    assert await _log(api, "ending") == "began\nsaid it\nend"
    assert await _log(api, "ending", follow="true", tailLines="1") == "end"
    await api.delete("ending")


async def test_the_run_before_is_told_as_previous(api: Api) -> None:
    # A container's own folders are new in every run; only a volume tells the second from the first.
    script = "test -e /v/x && { echo second; exec sleep 1000; }; touch /v/x; echo first; exit 1"
    volumes = [{"name": "v", "emptyDir": {}}]
    await api.create(
        "again",
        image="bare:latest",
        command=["sh", "-c", script],
        restartPolicy="Always",
        volumes=volumes,
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )
    await api.wait("again", lambda one: "'restartCount': 1" in str(one) and is_ready(one))
    async with asyncio.timeout(WITHIN):
        while await _log(api, "again") != "second\n":  # noqa: ASYNC110  (a server's state)
            await asyncio.sleep(0.01)
    assert await _log(api, "again", previous="true") == "first\n"
    await api.delete("again")


async def test_a_log_keeps_its_last_part_and_a_slow_reader_misses_lines() -> None:
    log = ContainerLog()
    log.feed(b"first\n")
    lines = log.follow()
    assert [line.text for line in await anext(lines)] == [b"first\n"]
    for number in range(30_000):
        log.feed(b"%08d " % number + MESSAGE.encode())
    kept = log.lines()
    assert 200_000 < sum(len(line.text) for line in kept) <= 262_144
    assert kept[-1].text.startswith(b"00029999 ")
    assert await anext(lines) == kept
    log.feed(b"x" * 40_000)
    assert [len(line.text) for line in log.lines(2)] == [16384, 16384]
    log.end()
    assert [part[-1].text async for part in lines][-1] == b"x" * (40_000 - 2 * 16384)


async def test_short_lines_cost_no_more_memory_and_time_than_long_ones() -> None:
    log = ContainerLog()
    log.feed(b"first\n")
    lines = log.follow()
    assert len(await anext(lines)) == 1
    log.feed(b"\n" * 100_000 + b"last\n")
    kept = log.lines()
    assert (len(kept), kept[-1].text) == (8192, b"last\n")
    assert await anext(lines) == kept
    log.feed(b"more\n")
    assert [line.text for line in await anext(lines)] == [b"more\n"]
