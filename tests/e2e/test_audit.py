"""Every session leaves a row that an operator can read, and nothing of what was said in it."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from .dev import Dev, Pod, eventually, make_key, output, rent, running

CANARY = "canary-7f3a-in-a-command"


def listed(dev: Dev, *options: str) -> list[dict[str, Any]]:
    argv = [sys.executable, "-m", "kgpud", "session", "list", "--json", "--state", str(dev.state)]
    rows: list[dict[str, Any]] = json.loads(output([*argv, *options]))
    return rows


def test_a_row_says_who_where_and_how_it_ended(dev: Dev, pod: Pod) -> None:
    assert pod.ssh("cat; exit 7", stdin=bytes(5000)).returncode == 7
    rows = eventually(
        lambda: [r for r in listed(dev, "--pod", pod.pod_id) if r["reason"] == "exit"]
    )
    row = rows[0]
    assert (row["account"], row["pod_id"]) == ("dev@localhost", pod.pod_id)
    assert (row["peer"], row["kind"], row["exit_status"]) == ("127.0.0.1", "exec", 7)
    assert (row["bytes_in"], row["bytes_out"]) == (5000, 5000)
    assert row["client"].startswith("OpenSSH_")
    told = output(["ssh-keygen", "-l", "-f", str(pod.key)]).decode().split()[1]
    assert (row["fingerprint"], row["key_generation"]) == (told, 1)
    assert row["opened_at"] <= row["closed_at"]


def test_an_open_session_is_listed_and_then_its_end(dev: Dev, tmp_path: Path) -> None:
    pod = rent(dev, make_key(tmp_path / "key"))
    client = pod.start("echo in; sleep 100")
    assert client.stdout
    assert client.stdout.readline() == b"in\n"
    only = ("--open", "--pod", pod.pod_id)
    assert [r["closed_at"] for r in eventually(lambda: listed(dev, *only))] == [None]
    pod.release()
    client.communicate(timeout=20)
    [row] = listed(dev, "--user", "dev@localhost", "--pod", pod.pod_id)
    ended = eventually(lambda: (r := listed(dev, "--pod", pod.pod_id)[0])["closed_at"] and r)
    assert (ended["reason"], ended["exit_status"]) == ("returned", 255)
    assert row["session_id"] == ended["session_id"]


def test_a_killed_daemon_s_sessions_are_closed_at_the_next_start(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running(state) as dev:
        client = rent(dev, make_key(tmp_path / "key")).start("echo in; sleep 100")
        assert client.stdout
        assert client.stdout.readline() == b"in\n"
        eventually(lambda: listed(dev, "--open"))
        dev.process.kill()
        dev.process.wait(20)
        client.communicate(timeout=20)
    with running(state) as dev:
        [row] = listed(dev)
        assert (row["reason"], row["bytes_in"]) == ("daemon_lost", None)
        assert row["closed_at"] is not None


def test_no_log_line_and_no_row_holds_a_command_a_token_or_a_key(tmp_path: Path) -> None:
    state, key = tmp_path / "state", make_key(tmp_path / "key")
    with running(state) as dev:
        pod = rent(dev, key, env={"SECRET_OF_MINE": CANARY})
        assert CANARY.encode() in pod.ssh(f"echo {CANARY}").stdout
        pod.ssh("-tt", f"echo {CANARY}; exit 1")
        pod.ssh("sh", stdin=f"echo {CANARY}\n".encode())
        subprocess.run(pod.argv("-s", CANARY), capture_output=True, timeout=20)
        pod.ssh(f"-oSetEnv=LC_TIME={CANARY}", f"-oUser={CANARY}", "true")
        minted = dev.api("PATCH", f"/pods/{pod.pod_id}", {})["ssh_access"]["private_key"]
        token = dev.env["KGPU_API_TOKEN"]
        assert dev.stop() == 0
    database = sqlite3.connect(state / "kgpud.sqlite3")
    rows = "\n".join(database.iterdump())
    database.close()
    log = (state / "kgpud.log").read_text() + (tmp_path / "state.out").read_text()
    assert "session.closed" in log
    secrets = {CANARY, token, minted.splitlines()[1], minted.splitlines()[2]}
    for text in (log, rows):
        assert [secret for secret in secrets if secret in text] == []
    assert "PRIVATE KEY" not in rows + log
