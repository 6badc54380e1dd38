"""What is negotiated: by version string, through real clients, and as ssh-audit sees it."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import algorithms
from gateway.admission import Limits
from gateway.algorithms import ACCEPTED_WEAKNESSES, CIPHERS, FAST_CIPHERS, KEX, MACS

from .doors import door
from .raw_client import RawClient

AUDIT = Path(sys.executable).parent / "ssh-audit"


@pytest.mark.parametrize(
    ("version", "fast"),
    [
        ("OpenSSH_9.2p1 Debian-2+deb12u10", True),
        ("OpenSSH_10.0p2", True),
        ("OpenSSH_6.2", True),
        ("OpenSSH_7.4", True),
        ("OpenSSH_for_Windows_8.1", True),
        ("OpenSSH_6.1p1", False),
        ("OpenSSH_5.3", False),
        ("OpenSSH", False),
        ("PuTTY_Release_0.78", True),
        ("PuTTY_Release_0.83", True),
        ("PuTTY_Release_0.77", False),
        ("PuTTY_Release_0.9", False),
        ("dropbear_2022.83", False),
        ("paramiko_3.0.0", False),
        ("Go", False),
        ("libssh2_1.10.0", False),
        ("not-OpenSSH_9.2", False),
    ],
)
async def test_who_surely_has_gcm_is_offered_nothing_slower(
    tmp_path: Path, version: str, fast: bool
) -> None:
    async with (
        door(tmp_path) as front,
        RawClient.connected(front.port, f"SSH-2.0-{version}".encode()) as client,
    ):
        await client.exchange_keys()
        kex, _, to_us, from_us, *macs = client.offers[:6]
    assert kex[: len(KEX)] == list(KEX)
    assert to_us == from_us == list(FAST_CIPHERS if fast else CIPHERS)
    assert macs == [list(MACS)] * 2


@asynccontextmanager
async def under_another_name(port: int, version: bytes) -> AsyncIterator[int]:
    """Pass connections on to a port, with another client's version in the first line."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        if await reader.readline():
            back.write(version + b"\r\n")
        await asyncio.gather(copy(reader, back), copy(there, writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def audited(port: int, *options: str) -> Any:
    argv = [str(AUDIT), "--json", "--port", str(port), *options, "127.0.0.1"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    said, complained = await process.communicate()
    # 0 is spotless, 2 are warnings, 3 failures; anything else means that it could not look.
    assert process.returncode in (0, 2, 3), (said, complained)
    return json.loads(said)


def remarks(report: Any) -> dict[str, list[str]]:
    """Return what an auditor warns of or fails, by algorithm."""
    found = {}
    for kind in ("kex", "key", "enc", "mac"):
        for one in report[kind]:
            notes = one["notes"].get("fail", []) + one["notes"].get("warn", [])
            if notes:
                found[one["algorithm"]] = notes
    return found


async def test_ssh_audit_remarks_only_on_what_a_listed_client_forces(tmp_path: Path) -> None:
    """With its test of how many connections it gets a second: we must throttle them."""
    async with door(tmp_path, Limits()) as front:
        report = await audited(front.port)
    assert set(remarks(report)) <= set(ACCEPTED_WEAKNESSES)
    assert [e["algorithm"] for e in report["enc"]] == list(FAST_CIPHERS)
    assert (report["cves"], report["additional_notes"]) == ([], [])


async def test_ssh_audit_in_the_name_of_a_client_without_gcm(tmp_path: Path) -> None:
    async with (
        door(tmp_path) as front,
        under_another_name(front.port, b"SSH-2.0-dropbear_2022.83") as port,
    ):
        report = await audited(port, "--skip-rate-test")
    assert [e["algorithm"] for e in report["enc"]] == list(CIPHERS)
    # That an *unpatched* client would be open to Terrapin with it.
    [terrapin] = report["additional_notes"]
    [at_risk] = re.findall(r"with this target: ([^ ]+)\.  ", terrapin)
    assert {*remarks(report), *at_risk.split(",")} == set(ACCEPTED_WEAKNESSES)
    assert report["cves"] == []


def test_every_accepted_weakness_is_offered_and_has_its_client() -> None:
    offered = {*algorithms.KEX, *algorithms.CIPHERS, *algorithms.MACS}
    assert set(ACCEPTED_WEAKNESSES) <= offered
    assert all(len(client) > 20 for client in ACCEPTED_WEAKNESSES.values())


CLIENTS = {
    "OpenSSH_": "ssh -F none -p {port} -o BatchMode=yes -o StrictHostKeyChecking=no"
    " -o UserKnownHostsFile=/dev/null -i {key} kgpu@127.0.0.1 true",
    "PuTTY_Release_": "plink -batch -P {port} -hostkey {host} -i {ppk} kgpu@127.0.0.1 true",
    "dropbear_": "dbclient -y -y -p {port} -i {dropbear} kgpu@127.0.0.1 true",
}


async def run(*argv: str) -> str:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    out, errors = await process.communicate()
    assert process.returncode == 0, errors
    return out.decode()


@pytest.fixture
async def identities(tmp_path: Path) -> dict[str, str]:
    key, ppk, dropbear = (str(tmp_path / name) for name in ("key", "key.ppk", "key.dropbear"))
    await run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    await run("puttygen", key, "-o", ppk, "-O", "private")
    await run("dropbearconvert", "openssh", "dropbear", key, dropbear)
    return {"key": key, "ppk": ppk, "dropbear": dropbear}


@pytest.mark.parametrize("client", CLIENTS)
async def test_real_clients_get_in(tmp_path: Path, identities: dict[str, str], client: str) -> None:
    async with door(tmp_path) as front:
        front.core.everybody = "rental"
        told = (await run("ssh-keygen", "-l", "-f", str(tmp_path / "host_key"))).split()[1]
        command = CLIENTS[client].format(port=front.port, host=told, **identities)
        process = await asyncio.create_subprocess_exec(
            *command.split(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    assert [one.client.startswith(client) for one in front.core.opened_by] == [True], said
    assert b"no longer opens the rental" in said
    assert process.returncode == 255


@pytest.mark.parametrize("cipher", ["chacha20-poly1305@openssh.com", "aes256-ctr"])
async def test_who_could_have_gcm_and_wants_something_else_is_told_as_by_sshd(
    tmp_path: Path, identities: dict[str, str], cipher: str
) -> None:
    async with door(tmp_path) as front:
        front.core.everybody = "rental"
        command = CLIENTS["OpenSSH_"].format(port=front.port, host="", **identities)
        with capture_logs() as logs:
            process = await asyncio.create_subprocess_exec(
                *command.replace(" -i ", f" -c {cipher} -i ").split(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said, _ = await process.communicate()
    assert said.decode().split("\r\n")[0].rstrip() == (
        f"Unable to negotiate with 127.0.0.1 port {front.port}: no matching cipher found. "
        f"Their offer: {','.join(FAST_CIPHERS)}"
    )
    assert process.returncode == 255
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
