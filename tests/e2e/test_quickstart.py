"""The quick starts that people copy, run as they stand: README's, and the product's."""

import os
import subprocess
from pathlib import Path

import pytest

from .dev import STEP_SECONDS, Dev, make_key

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT.parent / "shared" / "product.md"


def quick_start(document: Path) -> str:
    """Return the first bash block after the heading."""
    after = document.read_text().split("\n## Quick start\n", 1)[1]
    return after.split("```bash\n", 1)[1].split("```", 1)[0]


@pytest.fixture
def home(dev: Dev, tmp_path: Path) -> Path:
    """Make a home whose key and known hosts ssh finds: it looks in passwd's, not in $HOME."""
    (tmp_path / ".ssh").mkdir()
    key = make_key(tmp_path / ".ssh" / "id_ed25519")
    config = tmp_path / ".ssh" / "config"
    known_hosts = dev.env["KGPU_KNOWN_HOSTS"]
    config.write_text(
        f"IdentityFile {key}\nIdentitiesOnly yes\nBatchMode yes\nUserKnownHostsFile {known_hosts}\n"
    )
    (tmp_path / "bin").mkdir()
    for name in ("ssh", "scp"):
        shim = tmp_path / "bin" / name
        shim.write_text(f'#!/bin/sh\nexec /usr/bin/{name} -F {config} "$@"\n')
        shim.chmod(0o755)
    return tmp_path


def run(script: str, home: Path) -> str:
    env = {**os.environ, "HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}
    argv = ["bash", "-e", "-o", "pipefail", "-c", script]
    done = subprocess.run(
        argv, cwd=home, env=env, capture_output=True, text=True, timeout=STEP_SECONDS
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_readme(dev: Dev, home: Path) -> None:
    script = quick_start(ROOT / "README.md").replace(".dev/dev.env", str(dev.state / "dev.env"))
    said = run(script, home)
    assert "SIMULATED" in said
    assert '"exit_code": 0' in said
    assert said.endswith('"returned"\n')
    assert (home / "out" / "hello.txt").read_text() == "hello\n"


@pytest.mark.skipif(not PRODUCT.exists(), reason="the product's document is not beside the clone")
def test_product(dev: Dev, home: Path) -> None:
    env = dev.env
    script = (
        quick_start(PRODUCT)
        .replace("https://api.kgpu.net/v1", env["KGPU_API_BASE"])
        .replace("kgpu_xxxxxxxxxxxxx", env["KGPU_API_TOKEN"])
        .replace("ssh.kgpu.net", env["KGPU_SSH_HOST"])
        .replace("2222", env["KGPU_SSH_PORT"])
    )
    rent, work = script.split("# 4.", 1)
    # What the reader is supposed to have: data, and a training script in the pod.
    (home / "mydata.zip").write_bytes(os.urandom(1000))
    where = f"-p {env['KGPU_SSH_PORT']} kgpu@{env['KGPU_SSH_HOST']}"
    trained = f"ssh {where} 'echo model >/workspace/model.pt; echo >/workspace/train.py'\n"
    said = run(rent + trained + "# 4." + work, home)
    assert "SIMULATED" in said
    assert '"end_reason":"returned"' in said.replace(" ", "")
    assert (home / "model.pt").read_text() == "model\n"
