"""Every recorded exec session, played to the engine: what its user sees."""

import asyncio
from fnmatch import fnmatchcase
from pathlib import Path
from ssl import SSLContext

import pytest

from tests.gateway.test_tls import contexts
from tests.recorded import files

from .expected import BROKEN, FALSE_ANSWERS, NOT_PLAYED, expected, sessions, ways, why_not_played
from .recording import STDERR, STDOUT, Recording
from .replay import RAW, pod, replaying
from .user import Seen, watch

CASES = sessions()
LEFT_OUT = {name: why for name in files.names() if (why := why_not_played(name))}

# Tens of megabytes each; the suite plays one mode's.
HEAVY = ("slow_reader.", "big_stdout.", "_16777216.", "_33554432.", "_34603008.", "_67108864.")
ALL = [(name, how) for name in CASES for how in ways(name)]
LATER = [
    (name, how)
    for name, how in ALL
    if any(part in name for part in HEAVY) and not ("1.36" in name and name.endswith(".v5"))
]
PLAYED = [one for one in ALL if one not in LATER]
_AT_ONCE = 16


Results = dict[tuple[str, str], Seen | Exception]


async def play(
    sessions: list[tuple[str, str]], tls: tuple[SSLContext, SSLContext] | None = None
) -> Results:
    """Play all of them, some at a time, to one engine."""
    seen: Results = {}
    waiting = iter(sessions)

    async def some() -> None:
        for name, how in waiting:
            try:
                seen[name, how] = await watch(replay, Recording(name), pod(name, how))
            except Exception as error:  # noqa: BLE001 - that case's own test raises it
                seen[name, how] = error

    async with replaying(tls) as replay, asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(some())
    return seen


@pytest.fixture(scope="module")
def seen() -> Results:
    return asyncio.run(play(PLAYED))


def case(name: str) -> str:
    """Return what was recorded in two modes and two sub-protocols."""
    return name.partition("/")[2].partition(".")[0]


@pytest.mark.parametrize("case_", sorted({case(name) for name, _ in PLAYED}))
def test_a_user_sees(seen: Results, case_: str) -> None:
    for name, how in PLAYED:
        if case(name) == case_:
            check(name, how, seen[name, how])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how"), LATER, ids=[f"{name}-{how}" for name, how in LATER])
def test_a_user_of_a_heavy_one_sees(name: str, how: str) -> None:
    check(name, how, asyncio.run(play([(name, how)]))[name, how])


@pytest.mark.slow
def test_a_user_sees_the_same_under_tls(tmp_path: Path) -> None:
    for (name, how), seen in asyncio.run(play(ALL, contexts(tmp_path))).items():
        check(name, how, seen)


def check(name: str, how: str, user: Seen | Exception) -> None:
    recording, should = Recording(name), expected(name, how)
    assert isinstance(user, Seen), (name, how, repr(user))
    assert user.code == should.code, (name, how)
    assert user.line.startswith(should.line), (name, how)
    assert bool(user.line) == bool(should.line), (name, how)
    if not user.line.endswith("its upgrade answer is not ours"):
        assert user.out == recording.said(STDOUT), (name, how)
        assert user.err == recording.said(STDERR), (name, how)


def test_every_line_of_the_tables_is_of_use() -> None:
    for pattern in (*BROKEN, *FALSE_ANSWERS, *NOT_PLAYED):
        assert any(fnmatchcase(name, pattern) for name in files.names()), pattern


def test_a_user_learns_what_became_of_the_command(seen: Results) -> None:
    """Whoever was restarted, what it left running was found by a second exec, and ended.

    A runtime that loses the stream kills the process it began: always in v4, and in v5 when it was
    the kubelet that went. A terminal's other processes go with it; without one they live on.
    """
    for name in [name for name in CASES if name.startswith("restart/")]:
        user, recording = seen[name, RAW], Recording(name)
        assert isinstance(user, Seen)
        lives_on = "containerd" in name or ("apiserver" in name and name.endswith(".v5"))
        assert recording.outlived is lives_on, name
        if lives_on:
            assert user.line.endswith("; the command was ended"), name
        elif not recording.tty:
            assert user.line.endswith("; the command may still be running"), name
        else:
            assert ";" not in user.line, name


def test_what_never_ran_is_not_said_to_run(seen: Results) -> None:
    lines = [user.line for user in seen.values() if isinstance(user, Seen)]
    never = [line for line in lines if line.startswith(("the image has no sh", "the pod"))]
    assert len(never) > 20
    assert not any("command was" in line or "command may" in line for line in never)
