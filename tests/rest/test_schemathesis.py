"""Schemathesis reads our description and tries what it says, and what it forbids, on a daemon.

All its checks but one, with data that fits and data that doesn't, and its walks along the links.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.dev import Dev, running

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    with running(tmp_path / "state") as made:
        words = ("user", "role", made.api("GET", "/me")["email"], "maintainer")
        command = [sys.executable, "-m", "kgpud", *words, "--state", str(made.state)]
        subprocess.run(command, check=True, timeout=60)
        yield made


def attack(dev: Dev, *options: str, seconds: int) -> None:
    argv = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    argv += [dev.env["KGPU_API_BASE"] + "/openapi.json", "--checks", "all", "--no-color"]
    argv += ["-H", f"Authorization: Bearer {dev.env['KGPU_API_TOKEN']}"]
    # A rental's row remains, so that its user can read why it ended; an object's deletion is
    # idempotent.
    argv += ["--exclude-checks", "use_after_free"]
    # Or it would have no token any more.
    argv += ["--exclude-operation-id", "issue_token", "--exclude-operation-id", "revoke_token"]
    argv += ["--request-timeout", "30", "--generation-database", "none", *options]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=seconds, cwd=dev.state.parent
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_schemathesis_finds_nothing(dev: Dev) -> None:
    attack(dev, "--phases", "examples,coverage,stateful", "-n", "2", seconds=110)


@pytest.mark.slow
def test_schemathesis_finds_nothing_in_a_long_run(dev: Dev) -> None:
    attack(dev, "-n", "200", "--max-time", "900", seconds=1800)
