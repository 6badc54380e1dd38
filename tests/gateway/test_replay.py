"""Sessions of a real Kubernetes, played to the engine frame by frame.

Their commands ran without our wrapper: by themselves they show what is said without a trailer; with
the trailers put where the wrapper writes them, what a wrapped command's user is told.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.exec import Exec, ExecRefused, Outcome
from gateway.wrapper import Command, Kind

from .fake_api import CLOSE, POD, Call, Recorder, frame, serving

RECORDED = Path(__file__).parent / "recorded" / "exec"
ENDS = "the end of the output is missing"


def rows_of(name: str) -> list[dict[str, Any]]:
    """Read a session; sizes are spelled as the engine does, and no size of 0 or in another case."""
    rows = []
    for line in (RECORDED / f"{name}.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row.get("ch") == 4:
            size = json.loads(row["text"])
            if not size.get("Width"):
                continue
            row["text"] = json.dumps(size)
            row["len"] = len(row["text"]) + 1
        rows.append(row)
    return rows


def command_of(rows: list[dict[str, Any]]) -> Command:
    return Command(Kind.COMMAND, [b"recorded"], tty="tty=true" in rows[0]["path"])


def output_of(rows: list[dict[str, Any]], channel: int) -> bytes:
    said = [row["text"] for row in rows if row.get("dir") == "<" and row.get("ch") == channel]
    return "".join(said).encode()


async def play(call: Call, rows: list[dict[str, Any]], trailer: int | None, *, tty: bool) -> None:
    """Send what the server sent, and wait for what the client sent."""
    for row in rows:
        if "negotiated" in row:
            call.writer.write(call.switching(row["negotiated"]))
        elif row.get("dir") == ">":
            assert await call.receive() == (2, message(row))
        elif row.get("dir") == "<" and row["op"] == "binary":
            if row["ch"] == 3 and trailer is not None:
                if not tty:
                    call.stderr(call.trailer(trailer))
                call.stdout(call.trailer(trailer))
            call.writer.write(frame(2, message(row)))
        elif row.get("dir") == "<" and row["op"] == "close":
            call.writer.write(frame(CLOSE, row["code"].to_bytes(2, "big")))


def message(row: dict[str, Any]) -> bytes:
    whole = bytes([row["ch"]]) + str(row["text"]).encode()
    assert len(whole) == row["len"]
    return whole


def act(running: Exec, row: dict[str, Any]) -> None:
    """Have the engine send what the recording's client sent."""
    text = row["text"]
    if row["ch"] == 0 and text:
        running.write(text.encode())
    elif row["ch"] == 0:
        running._keep_alive()
    elif row["ch"] == 4:
        size = json.loads(text)
        running.resize(size["Width"], size["Height"])
    else:
        running.end_stdin()


async def replayed(name: str, trailer: int | None = None) -> Outcome:
    rows = rows_of(name)
    command = command_of(rows)
    typed = [row for row in rows if row.get("dir") == ">"]

    async def script(call: Call) -> None:
        await play(call, rows, trailer, tty=command.tty)

    async with serving(script) as api:
        sink = Recorder()
        running = await api.executor.start(POD, command, sink)
        for row in typed:
            act(running, row)
        outcome = await sink.ended()
        assert sink.out == output_of(rows, 1)
        assert sink.err == output_of(rows, 2)
        return outcome


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("exit3.v5", 3),
        ("exit3.v4", 3),
        ("translated_exit3.v5", 3),
        ("exit255.v5", 255),
        ("sig9.v5", 137),
        ("sig15.v5", 143),
        ("sh_127.v5", 127),
        ("stdin_closed_early_then_more.v5", 7),
        ("stdout_closed_then_exit.v5", 5),
        ("bg_child_holds_stdout.v5", 5),
        ("tty_no_stderr.v5", 4),
        ("tty_resize.v5", 9),
    ],
)
async def test_a_recorded_failure_keeps_its_code(name: str, code: int) -> None:
    assert await replayed(name) == Outcome(code)
    assert await replayed(name, code) == Outcome(code)


@pytest.mark.parametrize(
    "name",
    [
        "exit0.v5",
        "exit0_silent.v5",
        "unicode_and_spaces.v5",
        "stdin_eof_close_frame.v5",
        "stdin_empty_frame_is_not_eof.v5",
        "tty_ctrl_c_ctrl_d.v5",
    ],
)
async def test_a_recorded_success_is_one_by_its_trailer_alone(name: str) -> None:
    bare = await replayed(name)
    assert bare == Outcome(None, f"the connection to the pod broke: {ENDS}")
    assert await replayed(name, 0) == Outcome(0)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("containerd_restart_cat_idle.v5", ENDS),  # it says Success, and the cat runs on
        ("containerd_restart_cat_idle.v4", "it closed early"),
        ("kubelet_kill9_writer.v5", "it closed early"),
        ("apiserver_kill9_cat_idle.v5", "it closed early"),
        ("cmd_not_found.v5", "the image has no sh"),  # the wrapper's sh would be what is missing
        ("no_command.v5", "args must not be empty"),
        ("translated_pod_completed.v5", "the pod's container is not running"),
        ("translated_no_streams.v5", "you must specify at least 1 of stdin"),
    ],
)
async def test_a_recorded_break_is_told_as_one(name: str, sentence: str) -> None:
    outcome = await replayed(name)
    assert outcome.exit_code is None
    assert outcome.broken
    assert sentence in outcome.broken


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_such_pod.v5", "the pod is gone"),
        ("no_such_container.v5", "container nope is not valid for pod w1"),
        ("pod_unschedulable.v5", "pod pend does not have a host assigned"),
        ("pod_completed.v5", "the pod's container is not running"),
        ("user_without_rights.v5", "kgpud doctor"),
        ("proto_bad", "kgpud doctor"),
    ],
)
async def test_a_recorded_refusal_is_explained(name: str, sentence: str) -> None:
    [answer] = [row for row in rows_of(name) if row.get("ev") == "same_request_read_by_hand"]
    headers = "".join(f"{key}: {value}\r\n" for key, value in answer["headers"].items())

    async def script(call: Call) -> None:
        head = f"HTTP/1.1 {answer['status']} Recorded\r\n{headers}\r\n"
        call.writer.write(head.encode() + answer["body"].encode())

    async with serving(script) as api:
        with pytest.raises(ExecRefused, match=sentence):
            await api.executor.start(POD, Command(Kind.LOGIN), Recorder())
