"""Files of gigabytes, and clients that fall asleep over them: the daemon's memory has a bound."""

import hashlib
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.e2e.dev import Dev, Pod, output
from tests.e2e.test_memory import MIB, PER_SESSION, Watched

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SIZE = 5 * 1024 * MIB
STALLED = 6


@pytest.mark.parametrize(("name", "option"), [("pod", "-s"), ("bare", "-O")])
def test_five_gigabytes(
    dev: Dev, name: str, option: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    image: Pod = request.getfixturevalue(name)
    file = tmp_path / "file"
    with file.open("wb") as made:
        for at in range(0, SIZE, SIZE // 50):
            made.seek(at)
            made.write(os.urandom(MIB))
        made.truncate(SIZE)
    with file.open("rb") as opened:
        whole = hashlib.file_digest(opened, "sha256").hexdigest()
    scp = ["scp", "-q", option, *image.options, "-P", image.port]
    daemon = Watched(dev)
    before = daemon.size()
    subprocess.run([*scp, str(file), f"{image.where}:/workspace/large"], check=True, timeout=800)
    file.unlink()
    there = subprocess.run(image.argv("sha256sum /workspace/large"), capture_output=True)
    assert there.stdout.split()[0].decode() == whole
    subprocess.run([*scp, f"{image.where}:/workspace/large", str(file)], check=True, timeout=800)
    output(image.argv("rm /workspace/large"))
    with file.open("rb") as opened:
        assert hashlib.file_digest(opened, "sha256").hexdigest() == whole
    file.unlink()
    assert daemon.size() - before < 3 * PER_SESSION


@pytest.mark.parametrize("option", ["-O", "-s"])
@pytest.mark.parametrize("name", ["pod", "bare"])
def test_clients_that_fall_asleep(
    dev: Dev, name: str, option: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    image: Pod = request.getfixturevalue(name)
    output(image.argv("head -c 300000000 /dev/zero >/workspace/zeros"))
    scp = ["scp", "-q", option, *image.options, "-P", image.port, f"{image.where}:/workspace/zeros"]
    daemon = Watched(dev)
    before = daemon.size()
    copies = [subprocess.Popen([*scp, str(tmp_path / str(n))]) for n in range(STALLED)]
    everybody = [one for copy in copies for one in psutil.Process(copy.pid).children()]
    everybody += [psutil.Process(copy.pid) for copy in copies]
    for process in everybody:
        process.send_signal(signal.SIGSTOP)
    held = daemon.settled_size() - before
    for process in everybody:
        process.send_signal(signal.SIGCONT)
    assert [copy.wait(300) for copy in copies] == [0] * STALLED
    assert held < STALLED * PER_SESSION
    assert {(tmp_path / str(n)).stat().st_size for n in range(STALLED)} == {300_000_000}
