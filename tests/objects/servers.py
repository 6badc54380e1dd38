"""Real S3 servers on free ports, with one bucket: SeaweedFS, and rclone's as a second opinion."""

import json
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kgpud.object_settings import S3

BUCKET = "bucket"
_ACCESS, _SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI"
_START_SECONDS = 60.0


@dataclass
class Server:
    """A server that can be stopped and started again, on the same port and folder."""

    argv: Sequence[str]
    port: int
    log: Path
    settings: S3
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self.argv, stdout=out, stderr=out)
        until = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5)
        except urllib.error.HTTPError as error:
            # Somebody who checks signatures: not the page of a server that is still starting.
            return error.code in (400, 403)
        except OSError:
            return False
        return True


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Server]:
    master, volume, filer, s3 = _ports(4)
    config = folder / "s3.json"
    rights = ["Admin", "Read", "Write", "List"]
    key = {"accessKey": _ACCESS, "secretKey": _SECRET}
    config.write_text(
        json.dumps({"identities": [{"name": "kgpud", "credentials": [key], "actions": rights}]})
    )
    data = folder / "data"
    data.mkdir()
    argv = [
        _program("weed"),
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=256",
        f"-master.port={master}",
        f"-volume.port={volume}",
        "-volume.max=40",
        "-volume.preStopSeconds=0",
        "-filer",
        f"-filer.port={filer}",
        "-s3",
        f"-s3.port={s3}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={config}",
    ]
    with _running(Server(argv, s3, folder / "weed.log", _settings(folder, s3))) as server:
        yield server


@contextmanager
def rclone(folder: Path) -> Iterator[Server]:
    (port,) = _ports(1)
    (folder / "data" / BUCKET).mkdir(parents=True)
    argv = [
        _program("rclone"),
        "serve",
        "s3",
        f"--addr=127.0.0.1:{port}",
        f"--auth-key={_ACCESS},{_SECRET}",
        f"--config={folder}/rclone.conf",
        f"--cache-dir={folder}/cache",
        str(folder / "data"),
    ]
    with _running(Server(argv, port, folder / "rclone.log", _settings(folder, port))) as server:
        yield server


def credentials(folder: Path, secret: str = _SECRET) -> Path:
    path = folder / f"credentials-{secret}"
    path.write_text(f"[default]\naws_access_key_id = {_ACCESS}\naws_secret_access_key = {secret}\n")
    return path


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _settings(folder: Path, port: int) -> S3:
    endpoint = f"http://127.0.0.1:{port}"
    return S3(endpoint=endpoint, bucket=BUCKET, credentials=credentials(folder))


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _ports(count: int) -> list[int]:
    """Return ports that are free, as are those 10,000 above them: SeaweedFS's for gRPC.

    Below 32768, where Linux takes no port for a client meanwhile.
    """
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(12_000, 22_000)
        if _free(port) and _free(port + 10_000):
            found.add(port)
    return list(found)


def _free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
