"""`kgpud user` and `kgpud pod` on a real store."""

import asyncio
import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kgpud.cli import main
from kgpud.errors import UserError

from .commands import POD, Kgpud, add_rental, whose


def test_from_nobody_to_a_token(kgpud: Kgpud, state: Path) -> None:
    kgpud("user", "add", "ada@example.org", "--name", "Ada")
    assert kgpud("user", "show", "ada@example.org", "--json").output.find('"pending"') > 0
    assert "100000 credits" in kgpud("user", "approve", "ada@example.org").output
    kgpud("user", "approve", "ada@example.org")
    token = kgpud("user", "token", "ada@example.org").output.strip()
    assert re.fullmatch(r"kgpu_[0-9A-Za-z]{48}", token)
    email = asyncio.run(whose(state, token))
    assert email == "ada@example.org"
    # The secret is the daemon's to make: root's would be of no use to it.
    (state / "secret.key").unlink()
    second = kgpud("user", "token", "ada@example.org").output.strip()
    assert not (state / "secret.key").exists()
    assert asyncio.run(whose(state, second)) == "ada@example.org"
    with pytest.raises(UserError, match="replaced"):
        asyncio.run(whose(state, token))


def test_list_and_show(kgpud: Kgpud) -> None:
    kgpud("user", "add", "ada@example.org", "--role", "maintainer")
    kgpud("user", "add", "bob@example.org", "--name", "Bob\x1b[31m")
    kgpud("user", "approve", "bob@example.org")
    listed: list[dict[str, Any]] = json.loads(kgpud("user", "list", "--json").output)
    assert [(a["email"], a["role"], a["status"], a["credits"]) for a in listed] == [
        ("ada@example.org", "maintainer", "pending", 0),
        ("bob@example.org", "user", "approved", 100_000),
    ]
    table = kgpud("user", "list").output
    assert table.splitlines()[0].split() == [
        *("EMAIL", "NAME", "ROLE", "STATUS", "CREDITS", "GPUS", "CPU", "PODS", "CREATED")
    ]
    assert "\x1b" not in table
    shown = json.loads(kgpud("user", "show", "bob@example.org", "--json").output)
    assert [line["kind"] for line in shown["ledger"]] == ["trial"]
    assert "trial credits" in kgpud("user", "show", "bob@example.org").output


def test_credit_gives_and_takes_back(kgpud: Kgpud) -> None:
    kgpud("user", "add", "ada@example.org")
    assert (
        "has 500 credits" in kgpud("user", "credit", "ada@example.org", "500", "--note", "n").output
    )
    assert (
        "has 200 credits"
        in kgpud("user", "credit", "ada@example.org", "-300", "--note", "n").output
    )
    refused = kgpud("user", "credit", "ada@example.org", "-201", "--note", "n", ok=False)
    assert "below 0" in refused.stderr
    kgpud("user", "credit", "ada@example.org", "1", ok=False)
    huge = kgpud("user", "credit", "ada@example.org", str(10**30), "--note", "n", ok=False)
    assert "is not in the range" in huge.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("user", "show", "nobody@example.org"),
        ("user", "approve", "nobody@example.org"),
        ("user", "token", "nobody@example.org"),
        ("session", "list", "--user", "nobody@example.org"),
        ("session", "list", "--pod", "gpu-none-1-abcdef"),
        ("user", "credit", "nobody@example.org", "5", "--note", "n"),
        ("pod", "show", "gpu-none-1-abcdef"),
        ("pod", "release", "gpu-none-1-abcdef"),
    ],
)
def test_what_is_not_there_is_one_line(kgpud: Kgpud, words: tuple[str, ...]) -> None:
    result = kgpud(*words, ok=False)
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: there is no .*\n", result.stderr)


def test_stdout_is_the_answer_alone(kgpud: Kgpud) -> None:
    added = kgpud("user", "add", "ada@example.org")
    assert len(added.stdout.splitlines()) == 1
    assert added.stderr == ""


def test_an_account_is_suspended_with_its_rentals_or_without(kgpud: Kgpud, state: Path) -> None:
    ada = "ada@example.org"
    kgpud("user", "add", ada)
    assert "not suspended" in kgpud("user", "reinstate", ada, ok=False).stderr
    kgpud("user", "approve", ada)
    asyncio.run(add_rental(state, ada))
    assert "its 1 live rentals go on" in kgpud("user", "suspend", ada).output
    assert "is approved" in kgpud("user", "reinstate", ada).output
    assert "its 1 live rentals ended" in kgpud("user", "suspend", ada, "--release").output
    shown = json.loads(kgpud("pod", "show", POD, "--json").output)
    assert shown["end_reason"] == "admin_released"


def test_role_and_token_are_changed(kgpud: Kgpud) -> None:
    ada = "ada@example.org"
    kgpud("user", "add", ada)
    assert "is a maintainer" in kgpud("user", "role", ada, "maintainer").output
    kgpud("user", "token", ada)
    assert kgpud("user", "revoke", ada).output == "revoked\n"
    assert kgpud("user", "revoke", ada).output == "it had none\n"


def test_an_address_is_one(kgpud: Kgpud) -> None:
    for nonsense in ("ada", "", "a b@c", "@"):
        assert "e-mail" in kgpud("user", "add", nonsense, ok=False).stderr


def test_an_address_has_one_account(kgpud: Kgpud) -> None:
    kgpud("user", "add", "ada@example.org")
    assert "already" in kgpud("user", "add", "ADA@example.org", ok=False).stderr


def test_pods_are_listed_shown_and_released(kgpud: Kgpud, state: Path) -> None:
    kgpud("user", "add", "ada@example.org")
    kgpud("user", "approve", "ada@example.org")
    asyncio.run(add_rental(state, "ada@example.org"))
    listed = json.loads(kgpud("pod", "list", "--json").output)
    assert [(p["pod_id"], p["account"], p["phase"]) for p in listed] == [
        (POD, "ada@example.org", "Running")
    ]
    assert POD in kgpud("pod", "list").output
    assert "admin_released" in kgpud("pod", "release", POD).output
    again = kgpud("pod", "release", POD).output
    shown = json.loads(kgpud("pod", "show", POD, "--json").output)
    assert (shown["end_reason"], shown["phase"]) == ("admin_released", "Terminating")
    assert shown["ended_at"] in again
    assert (shown["charged_minutes"], shown["cost_credits"]) == (2, 33)
    assert shown["fingerprint"] is None
    assert POD not in kgpud("pod", "list").output
    assert POD in kgpud("pod", "list", "--all").output


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_a_state_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = invoke("user", "list", "--state", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert "does not exist" in result.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_whose_it_is_not_is_told_whose_it_is(state: Path) -> None:
    invoke("user", "list", "--state", str(state))  # what it imports may be root's alone
    os.seteuid(65_534)
    try:
        result = invoke("user", "list", "--state", str(state))
    finally:
        os.seteuid(0)
    assert result.exit_code == 1
    assert "run this as the daemon's user" in result.stderr


def test_a_damaged_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "kgpud.sqlite3").write_bytes(b"this is not a database, but long enough" * 40)
    result = invoke("user", "list", "--state", str(tmp_path))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "not a database" in result.stderr


def test_the_configured_state_is_used(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "kgpud.toml"
    path.write_text(f'state = "{state}"\ntrial_credits = 7')
    assert invoke("user", "add", "ada@example.org", "--config", str(path)).exit_code == 0
    approved = invoke("user", "approve", "ada@example.org", "--config", str(path))
    assert "7 credits" in approved.output


def test_a_bad_configuration_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "kgpud.toml"
    path.write_text("foo = 1\nbar = 2")
    result = invoke("user", "list", "--config", str(path))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_the_store_is_proven(kgpud: Kgpud, state: Path) -> None:
    kgpud("user", "add", "ada@example.org")
    kgpud("user", "approve", "ada@example.org")
    assert (
        kgpud("db", "check").output == "ok: 1 accounts, 0 rentals, 1 ledger lines, and all agree\n"
    )
    with closing(sqlite3.connect(state / "kgpud.sqlite3")) as raw:
        raw.execute("UPDATE accounts SET balance = 7")
        raw.commit()
    said = kgpud("db", "check", ok=False)
    assert said.exit_code == 1
    first, *_, last = said.output.splitlines()
    assert re.fullmatch(r"account acct_[0-9a-f]{16}: balance 7, ledger 100000", first)
    assert last == "Error: 2 disagreements in 1 accounts, 0 rentals, 1 ledger lines"


def test_quotas_and_corrections(kgpud: Kgpud) -> None:
    kgpud("user", "add", "ada@example.org")
    said = kgpud("user", "quota", "ada@example.org", "--gpus", "8", "--cpu-pods", "0").output
    assert said == "ada@example.org may rent 8 GPUs and 0 pods without one\n"
    kgpud("user", "quota", "ada@example.org", "--cpu-pods", "2")
    shown = json.loads(kgpud("user", "show", "ada@example.org", "--json").output)
    assert (shown["quota_gpus"], shown["quota_cpu_pods"]) == (8, 2)
    for wrong in ((), ("--gpus", "-1"), ("--gpus", "10001")):
        kgpud("user", "quota", "ada@example.org", *wrong, ok=False)
    note = ("--note", "lost a day of training")
    kgpud("user", "credit", "ada@example.org", "500", *note, "--correction")
    (line,) = json.loads(kgpud("user", "show", "ada@example.org", "--json").output)["ledger"]
    assert (line["kind"], line["amount"], line["note"]) == ("correction", 500, note[1])
    assert line["who"].startswith("cli:")


def test_a_reload_needs_a_daemon(kgpud: Kgpud) -> None:
    done = kgpud("reload", ok=False)
    assert done.exit_code == 1
    assert "no kgpud runs on" in done.output


def test_delete(kgpud: Kgpud, state: Path) -> None:
    kgpud("user", "add", "ada@example.org")
    kgpud("user", "approve", "ada@example.org")
    token = kgpud("user", "token", "ada@example.org").output.strip()
    asyncio.run(add_rental(state, "ada@example.org"))
    # Nobody said yes.
    kgpud("user", "delete", "ada@example.org", ok=False)
    assert asyncio.run(whose(state, token)) == "ada@example.org"
    assert "1 live rentals ended" in kgpud("user", "delete", "ada@example.org", "--yes").output
    assert "is deleted; 0 live" in kgpud("user", "delete", "ada@example.org", "--yes").output
    with pytest.raises(UserError, match="revoked"):
        asyncio.run(whose(state, token))
    assert json.loads(kgpud("user", "list", "--json").output) == []
    assert "ada@example.org" in kgpud("user", "list", "--status", "deleted").output
    assert "admin_released" in kgpud("pod", "show", POD).output
    assert "ada@example.org" in kgpud("pod", "list", "--all").output
    kgpud("user", "login-link", "ada@example.org", ok=False)
