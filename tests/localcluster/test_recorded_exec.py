"""Every recorded exec that makes sense here: the local cluster sends what the real one sent.

Two clusters, one for each of the two modes that were recorded, and two with a short idle timer.
All sessions are played at once, as many as are selected; then each is compared.
"""

import asyncio
import re
import ssl
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.recorded import files

from . import exec_pressure
from .clusters import running
from .exec_account import Account, Row, lower, refusal
from .exec_player import Place, Player, sessions
from .exec_pods import prepare

_DEFAULT = "exec-1.36-default"
_OPTIONS = {
    "exec-1.36-default": ("--exec-translator", "kubelet"),
    "exec-apiserver-translated": ("--exec-translator", "apiserver"),
    "idle-1.36-default": ("--exec-translator", "kubelet", "--exec-idle-seconds", "2"),
    "idle-apiserver-translated": ("--exec-translator", "apiserver", "--exec-idle-seconds", "2"),
}
_RECORDED = tuple(name for name in files.names() if name.split("/")[0] in _OPTIONS)
_FALSE = "a known false answer: the status never comes. Here it does: see test_exec.py"
_REASONS = {
    r"stdin_unread_then_exit_\w+_(2|10*)0{5,}\.": _FALSE,
    r"/env_cwd\.": "environment, folder and cgroups are a pod's own",
    r"default/big_stdin_frame_67108864\.v4": "a race lost its close frame; the other mode has it",
}
LEFT_OUT: dict[str, str] = {
    name: reason
    for name in _RECORDED
    for pattern, reason in _REASONS.items()
    if re.search(pattern, name)
}
CASES: tuple[str, ...] = tuple(name for name in _RECORDED if name not in LEFT_OUT)

_AT_ONCE = 32
# Where the two modes do the same by the same code, and playing it costs most.
_SLOW = re.compile("translated/(abort_|big_std|slow_reader|leak_)")
_BIG = re.compile("/(big_std|slow_reader|stdin_backpressure|abort_flood)")
# The idle timer is cut from 20 s to 2; the rest makes room for a busy machine on both sides of it.
_IDLE_PACE = 0.08
_OVER_TLS = (
    "exit3.v5",
    "stdin_eof_close_frame.v5",
    "big_stdin_frame_4194304.v5",
    "big_stdin_frame_34603008.v5",
    "big_stdout.v5",
    "slow_reader.v4",
    "tty_close_stdin_frame.v5",
    "abort_flood_tcp_rst.v5",
    "abort_silent_sleep_notty_close_frame.v4",
    "abort_silent_sleep_notty_tcp_fin.v4",
    "abort_silent_sleep_notty_tcp_rst.v4",
)
# Commands made shorter, in the request and wherever it is quoted; one longer, for busy machines.
_TIMED = {
    "close_frame_bad": [("sleep+1", "sleep+3")],
    "server_pings_idle_40s": [("command=40", "command=4")],
    "bg_child_holds_stdout": [("sleep+5", "sleep+2"), ("sleep 5", "sleep 2")],
    **{
        name.split("/")[1].split(".")[0]: [("=45", "=5"), ("+45", "+5"), ("p+3", "p+0.3")]
        for name in _RECORDED
        if name.startswith("idle")
    },
}
Outcome = list[tuple[Account, Account]]


def rows_of(name: str) -> list[Row]:
    """Return a recording's rows with what the recorder left out put in, and shorter waits."""
    case = name.split("/")[1].split(".", maxsplit=1)[0]
    rows = files.rows(name)
    for row in rows:
        for old, new in _TIMED.get(case, ()):
            for key in ("path", "text"):
                if key in row:
                    row[key] = row[key].replace(old, new)
    if found := re.fullmatch(r"stdin_unread_then_exit_\w+_(\d+)", case):
        rows.insert(2, {"dir": ">", "t": 0, "ch": 0, "message_len": int(found[1]) + 1})
    if case == "ping_while_stdin_blocked":
        at = next(n for n, row in enumerate(rows) if str(row.get("ev")).startswith("sent stdin"))
        rows[at : at + 1] = [{"dir": ">", "t": 0, "ch": 0, "message_len": 65536}] * 30
    if case == "idle_client_pings_every_3s":
        rows = [one for row in rows for one in _pinged(row)]
    if case.startswith("abort_writer"):
        rows = _one_line(rows)
    if case == "tty_resize":
        rows = _sized_once_it_runs(rows)
    return rows


def _pinged(row: Row) -> list[Row]:
    ping = {"dir": ">", "op": "ping", "t": row["t"], "text": row.get("text")}
    return [ping, row] if row.get("op") == "pong" else [row]


def _one_line(rows: list[Row]) -> list[Row]:
    """Wait for one line only of a command that writes the same again and again."""
    written = [row for row in rows if row.get("ch") == 1 and row["text"]]
    written[0]["text"] = written[0]["text"].splitlines(keepends=True)[0]
    for row in written[1:]:
        row["text"] = ""
    return rows


def _sized_once_it_runs(rows: list[Row]) -> list[Row]:
    """Send the first size after the first output: whether it came before was a race."""
    first = next(n for n, row in enumerate(rows) if row.get("ch") == 4)
    typed = next(n for n, row in enumerate(rows) if row.get("ch") == 0)
    early = [row for row in rows[first + 1 : typed] if row.get("text")]
    answers = [row for row in rows[typed + 1 :] if row.get("ch") == 1]
    if early[0]["text"] == "40 100\r\n":
        early[0]["text"] = "0 0\r\n"
        for row in early[1:]:
            row["text"] = ""
        assert answers[0]["text"] == "one\r\n"
        answers[0]["text"] += "WINCH\r\n40 100\r\n"
    return [*rows[:first], *rows[first + 1 : typed], rows[first], *rows[typed:]]


async def _play(place: Place, name: str) -> Outcome:
    case, version = (name.split("/")[1] + ".").split(".")[:2]
    rows = rows_of(name)
    if case.startswith("abort_flood"):
        return [await exec_pressure.flood(place, rows, by_reset=case.endswith("rst"))]
    if case == "slow_reader":
        return [await exec_pressure.slow_reader(place, rows, f"{version}.channel.k8s.io")]
    if case == "stdin_backpressure":
        return [await exec_pressure.stdin_backpressure(place, rows)]
    if case == "big_stdout":
        return [await exec_pressure.big_stdout(place, rows)]
    if case == "not_upgrade":
        return [await _not_upgraded(place, row) for row in rows]
    pace = _IDLE_PACE if case.startswith("idle") else 0.3 if case == "tty_ctrl_c_ctrl_d" else 0.0
    outcome = []
    for session in sessions(rows):
        wanted, got = await Player(place, session, pace).play()
        if case.startswith("abort_writer"):  # as many lines as there was time for
            got.channels[1] = got.channels[1].splitlines(keepends=True)[0]
        outcome.append((wanted, got))
    return outcome


_ASKED = {
    "GET without upgrade headers": {"Upgrade": "", "Connection": ""},
    "POST without upgrade headers": {"Upgrade": "", "Connection": ""},
    "bearer token bad": {"Authorization": "Bearer bad"},
    "SPDY/3.1 upgrade, no X-Stream-Protocol-Version": {"Upgrade": "SPDY/3.1"},
}


async def _not_upgraded(place: Place, row: Row) -> tuple[Account, Account]:
    request: Row = {
        "method": row["case"].split()[0] if "without" in row["case"] else "GET",
        "path": "/api/v1/namespaces/default/pods/w1/exec?stdout=true&command=true",
        "subprotocols": [],
        "user": "admin",
        "headers": _ASKED[row["case"]],
    }
    answer, socket = await place.open(request)
    await socket.close()
    count = re.compile(rb"with \d+ headers")  # the proxies on the way add theirs
    body = count.sub(b"with 8 headers", answer.body)
    wanted = refusal(row["status"], lower(row["headers"]), row["body"].encode())
    return Account(answer=wanted), Account(answer=refusal(answer.status, answer.headers, body))


async def _play_all(places: dict[str, Place], names: list[str]) -> dict[str, Outcome | Exception]:
    outcomes: dict[str, Outcome | Exception] = {}
    slots, big, idle = (asyncio.Semaphore(count) for count in (_AT_ONCE, 2, 2 * _AT_ONCE))

    async def one(name: str) -> None:
        async with big if _BIG.search(name) else slots if "/idle" not in name else idle:
            try:
                outcomes[name] = await _play(places[name.split("/", maxsplit=1)[0]], name)
            except Exception as error:  # noqa: BLE001  (each case's own test raises it)
                outcomes[name] = error

    async with asyncio.TaskGroup() as group:
        for place in places.values():
            group.create_task(prepare(place))
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(one(name))
    return outcomes


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome | Exception]:
    """What came of every session that this run has selected."""
    items = [item for item in request.session.items if item.path == request.path]
    names = [item.callspec.params["name"] for item in items if hasattr(item, "callspec")]
    with ExitStack() as stack:
        places = {}
        for folder in {name.split("/")[0] for name in names}:
            state = tmp_path_factory.mktemp("cluster")
            cluster = stack.enter_context(running(state, *_OPTIONS[folder]))
            places[folder] = Place(cluster.url, cluster.token)
        return asyncio.run(_play_all(places, names))


def _compare(outcome: Outcome | Exception) -> None:
    if isinstance(outcome, Exception):
        raise outcome
    assert outcome
    for wanted, got in outcome:
        assert got == wanted


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=[pytest.mark.slow] if _SLOW.search(one) else []) for one in CASES],
)
def test_a_session_is_as_it_was_recorded(
    outcomes: dict[str, Outcome | Exception], name: str
) -> None:
    _compare(outcomes[name])


def test_sessions_over_tls_are_as_they_were_recorded(tmp_path: Path) -> None:
    with running(tmp_path, "--tls") as cluster:
        tls = ssl.create_default_context(cafile=tmp_path / "ca.crt")
        places = {_DEFAULT: Place(cluster.url, cluster.token, tls)}
        outcomes = asyncio.run(_play_all(places, [f"{_DEFAULT}/{name}" for name in _OVER_TLS]))
    for outcome in outcomes.values():
        _compare(outcome)
