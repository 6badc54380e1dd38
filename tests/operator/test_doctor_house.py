"""What the doctor finds in the state folder."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kgpud import statefolder
from kgpud.config import Config
from kgpud.doctor import house
from kgpud.doctor.findings import Verdict
from store.db import Database, StoreDamaged
from tests.e2e.dev import make_key

from .doctoring import found_by


async def test_a_database_that_can_not_be_written_fails(patient_config: Config) -> None:
    path = patient_config.state / statefolder.DATABASE
    assert (await found_by(house.database, patient_config))["database"].verdict is Verdict.SKIP
    patient_config.state.mkdir(mode=0o700)
    async with Database.open(path):
        found = (await found_by(house.database, patient_config))["database"]
        assert found.verdict is Verdict.OK, found
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        found = (await found_by(house.database, patient_config))["database"]
        assert (found.verdict, "locked" in found.detail) == (Verdict.FAIL, True), found
        other.execute("ROLLBACK")
        version = other.execute("PRAGMA user_version").fetchone()[0]
        for wrong, verdict in ((version - 1, Verdict.WARN), (version + 9, Verdict.FAIL)):
            other.execute(f"PRAGMA user_version = {wrong}")
            found = (await found_by(house.database, patient_config))["database"]
            assert found.verdict is verdict, found
    other.close()
    path.write_bytes(b"garbage" * 1000)
    for tail in ("-wal", "-shm"):
        path.with_name(path.name + tail).unlink(missing_ok=True)
    found = (await found_by(house.database, patient_config))["database"]
    assert (found.verdict, "not a database" in found.detail) == (Verdict.FAIL, True), found
    assert "backup" in found.remedy
    with pytest.raises(StoreDamaged, match="not a database"):  # what the rest of the doctor asks
        async with Database.snapshot(path):
            pass


async def _make_database(path: Path) -> None:
    async with Database.open(path):
        pass


@pytest.fixture
def read_only(patient_config: Config) -> Iterator[Path]:
    """The database's file, which nobody may write, root included."""
    patient_config.state.mkdir(mode=0o700)
    path = patient_config.state / statefolder.DATABASE
    asyncio.run(_make_database(path))
    path.chmod(0o400)
    if (locked := subprocess.run(["chattr", "+i", str(path)], capture_output=True)).returncode:
        try:
            path.open("r+b").close()
        except PermissionError:
            pass
        else:
            pytest.skip(f"root can write anything here: {locked.stderr.decode().strip()}")
    yield path
    subprocess.run(["chattr", "-i", str(path)], capture_output=True)


async def test_a_database_that_is_read_only_fails(read_only: Path, patient_config: Config) -> None:
    found = (await found_by(house.database, patient_config))["database"]
    assert found.verdict is Verdict.FAIL, found
    assert str(read_only) in found.remedy


@pytest.fixture
def mounted_read_only(patient_config: Config) -> Iterator[Path]:
    """The state folder, on a file system that nobody can write to, root included."""
    path = patient_config.state
    path.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "ro,mode=700", "none", str(path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.root
async def test_a_state_folder_that_can_not_be_written_fails(
    mounted_read_only: Path, patient_config: Config
) -> None:
    found = (await found_by(house.folder, patient_config))["state folder"]
    assert found.verdict is Verdict.FAIL, found
    assert found.detail == f"{mounted_read_only} can't be written"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_a_doctor_who_is_not_the_daemons_user_says_so(patient_config: Config) -> None:
    patient_config.state.mkdir(mode=0o700)
    os.chown(patient_config.state, 65534, 65534)
    found = (await found_by(house.folder, patient_config))["state folder"]
    assert (found.verdict, found.remedy) == (Verdict.WARN, "runuser -u nobody -- kgpud doctor")


async def test_a_state_folder_or_host_key_that_others_can_read_is_named(
    patient_config: Config,
) -> None:
    state = patient_config.state
    state.mkdir(mode=0o755)
    assert (await found_by(house.folder, patient_config))["state folder"].verdict is Verdict.WARN
    state.chmod(0o700)
    assert (await found_by(house.folder, patient_config))["state folder"].verdict is Verdict.OK
    key = state / statefolder.HOST_KEY
    make_key(key)
    assert (await found_by(house.host_key, patient_config))["host key"].verdict is Verdict.OK
    key.chmod(0o644)
    assert "644" in (await found_by(house.host_key, patient_config))["host key"].detail
    key.write_text("-----BEGIN nonsense")
    assert (await found_by(house.host_key, patient_config))["host key"].verdict is Verdict.FAIL
