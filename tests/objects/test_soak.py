"""Objects as large as they come, through the daemon's own folder: memory stays flat."""

import asyncio
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kgpud.object_settings import Objects
from tests.e2e.dev import Dev, running
from tests.objects.servers import Server
from tests.objects.test_docs import blocks, run
from tests.objects.world import world

pytestmark = pytest.mark.slow

MIB = 1 << 20
# What the daemon may grow by: two blocks of 1 MiB an upload, and what libraries keep.
FLAT = 40 * MIB


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with running(tmp_path_factory.mktemp("soak") / "state") as started:
        yield started
        assert started.stop() == 0


def test_5_gb_in_one_put(dev: Dev, tmp_path: Path) -> None:
    size = 5 * 10**9
    digest = write_large(tmp_path / "big", size)
    made = dev.api("POST", "/objects", {"size_bytes": size})
    peak = Peak(dev)
    upload(tmp_path / "big", made["put_url"])
    peak.check()
    got = dev.api("GET", f"/objects/{made['object_id']}")
    assert got["state"] == "ready"
    # Whole, and in two pieces at once by two clients.
    half = size // 2
    ranges = (f"0-{half - 1}", f"{half}-")
    both = [
        subprocess.Popen(["curl", "-sSf", "-r", span, "-o", tmp_path / span, got["get_url"]])
        for span in ranges
    ]
    assert sha256_of_url(got["get_url"]) == digest
    assert [one.wait(600) for one in both] == [0, 0]
    peak.check()
    assert sum((tmp_path / span).stat().st_size for span in ranges) == size
    assert dev.api("DELETE", f"/objects/{made['object_id']}")["state"] == "deleted"


def test_more_than_5_gib_in_parts(dev: Dev, tmp_path: Path) -> None:
    """The documents' own loop, broken off and gone on with; a checksum over all of it."""
    size = (5 << 30) + 300 * MIB + 17
    digest = write_large(tmp_path / "imagenet.tar", size)
    begin, send = blocks()
    begin = begin.replace("size_bytes:$s}", f'size_bytes:$s, sha256:"{digest}"}}')
    broken = send.replace("while read", "head -3 | while read")
    peak = Peak(dev)
    object_id = bash(dev, tmp_path, begin + broken + "echo $OBJ").split()[-1]
    missing = dev.api("GET", f"/objects/{object_id}")["parts"]
    assert [part["number"] for part in missing] == list(range(4, 44))
    bash(dev, tmp_path, f"OBJ={object_id}\n{begin.split('OBJ=')[0]}{send}")
    got = dev.api("GET", f"/objects/{object_id}")
    while got["state"] == "pending":
        got = dev.api("GET", f"/objects/{object_id}")
    assert (got["state"], got["size_bytes"]) == ("ready", size)
    assert sha256_of_url(got["get_url"]) == digest
    peak.check()


async def test_more_than_5_gib_in_a_bucket(seaweed: Server, tmp_path: Path) -> None:
    size = (5 << 30) + 1
    folder = tmp_path / "laptop"
    folder.mkdir()
    digest = write_large(folder / "imagenet.tar", size)
    begin, send = blocks()
    async with world(tmp_path, Objects(store="s3", s3=seaweed.settings)) as here:
        said = await run(here, folder, begin + send + "echo $OBJ", seconds=1200)
        assert said.splitlines()[0] == '"ready"'
        got = (await here.call("GET", f"/{said.split()[-1]}")).body
        assert got["size_bytes"] == size
        assert await asyncio.to_thread(sha256_of_url, got["get_url"]) == digest


class Peak:
    """The daemon's largest resident size since this was made."""

    def __init__(self, dev: Dev) -> None:
        self._pid = dev.process.pid
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")
        self._before = psutil.Process(self._pid).memory_info().rss

    def check(self) -> None:
        status = Path(f"/proc/{self._pid}/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
        print(f"the daemon grew by {(peak - self._before) / MIB:.1f} MiB")  # noqa: T201
        assert peak - self._before < FLAT


def write_large(path: Path, size: int) -> str:
    """Write a file of which no two MiB are the same; return its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(0, size, MIB):
            block = number.to_bytes(8) * (MIB // 8)
            block = block[: size - number]
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def sha256_of_url(url: str) -> str:
    digest = hashlib.sha256()
    with subprocess.Popen(["curl", "-sSf", url], stdout=subprocess.PIPE) as curl:
        assert curl.stdout
        while data := curl.stdout.read(MIB):
            digest.update(data)
    assert curl.returncode == 0
    return digest.hexdigest()


def upload(path: Path, url: str) -> None:
    argv = ["curl", "-sSf", "--upload-file", str(path), url]
    subprocess.run(argv, check=True, timeout=1200)


def bash(dev: Dev, folder: Path, script: str) -> str:
    env = {**dev.env, "B": dev.env["KGPU_API_BASE"], "T": dev.env["KGPU_API_TOKEN"]}
    argv = ["bash", "-u", "-o", "pipefail", "-c", script]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()
