"""A daemon that can't start says why in one line, whatever is missing or damaged."""

import re
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import pytest

from kgpud.cli.serve import serve
from kgpud.statefolder import DATABASE, HOST_KEY, SECRET

Spoil = Callable[[Path], str]


def garbage(name: str) -> Spoil:
    def spoil(state: Path) -> str:
        (state / name).write_bytes(b"what is this? " * 100)
        return ""

    return spoil


def newer(state: Path) -> str:
    with closing(sqlite3.connect(state / DATABASE)) as db:
        db.execute("PRAGMA user_version = 9999")
    return ""


def said(more: str) -> Spoil:
    return lambda state: more.format(state=state)


CASES: dict[str, tuple[Spoil, str]] = {
    "no database": (garbage(DATABASE), rf"{DATABASE}: file is not a database"),
    "a newer database": (newer, "the state is of version 9999, this kgpud knows only up to"),
    "no secret": (garbage(SECRET), rf"{SECRET} does not hold 32 bytes"),
    "no host key": (garbage(HOST_KEY), rf"{HOST_KEY}: "),
    "no client secret": (
        said('[sign_in]\nissuer = "https://x"\nclient_id = "x"\nclient_secret_file = "{state}/x"'),
        "/x",
    ),
    "no credentials": (
        said('[objects]\nstore = "s3"\ns3.bucket = "abc"\ns3.credentials = "{state}/aws"'),
        "/aws",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line(tmp_path: Path, case: str) -> None:
    spoil, why = CASES[case]
    state = tmp_path / "state"
    state.mkdir()
    assert_one_line(tmp_path, state, spoil(state), why)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        more = f'[ssh]\nlisten = "127.0.0.1:{port}"'
        assert_one_line(tmp_path, tmp_path / "state", more, f"in use.*{port}")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert_one_line(tmp_path, tmp_path / "state", "", "/state")


def assert_one_line(folder: Path, state: Path, more: str, why: str) -> None:
    config = folder / "kgpud.toml"
    ssh = "" if "[ssh]" in more else '[ssh]\nlisten = "127.0.0.1:0"\n'
    config.write_text(f'state = "{state}"\n{ssh}[http]\nlisten = "127.0.0.1:0"\n{more}')
    with pytest.raises(click.ClickException) as failed:
        serve.main(["--config", str(config)], standalone_mode=False)
    assert re.search(why, failed.value.message), failed.value.message
    assert "\n" not in failed.value.message
