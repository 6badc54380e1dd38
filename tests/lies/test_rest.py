"""The lies through ``POST /v1/pods/ID/exec``: never an exit code that the command did not have."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.dev import Answer, Pod

from .made_up import TABLE
from .stack import Stack

LIES = [name for name, row in TABLE.items() if not row.slow and not row.tty]
# What answered is no API server.
_NOBODY = ("not_http", "a_head_without_an_end")
_AT_ONCE = 8


@pytest.fixture(scope="module")
def told(world: Stack, pod: Pod) -> dict[str, Answer]:
    """Ask for all of them, some at a time."""

    def ask(name: str) -> Answer:
        body = {"cmd": [f"play {name}"], "stdin": "x" * min(TABLE[name].stdin, 1_000_000)}
        return dict(world.dev.api("POST", f"/pods/{pod.pod_id}/exec", body))

    with ThreadPoolExecutor(_AT_ONCE) as at_once:
        return dict(zip(LIES, at_once.map(ask, LIES), strict=True))


@pytest.mark.parametrize("name", LIES)
def test_a_lie(told: dict[str, Answer], name: str) -> None:
    answer, row = told[name], TABLE[name]
    if row.line:
        refused = (503, "cluster_unreachable") if name in _NOBODY else (502, "exec_failed")
        assert (answer["_status"], answer["code"]) == refused
        assert answer["detail"].startswith(row.line)
    else:
        assert (answer["_status"], answer["exit_code"]) == (200, row.code)
        assert answer["stdout"].encode().startswith(row.out)
