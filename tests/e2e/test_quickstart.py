"""The quick starts that people copy, run as they stand: README's, and the product's."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from .dev import STEP_SECONDS, Dev, eventually, make_key, output

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


def impatient(home: Path) -> Path:
    """Have who waits there look again fifty times as soon."""
    sleep = home / "bin" / "sleep"
    sleep.write_text("#!/bin/sh\nexec /usr/bin/sleep 0.2\n")
    sleep.chmod(0o755)
    return home


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
    said = run(rent + trained + "# 4." + work, impatient(home))
    assert "SIMULATED" in said
    assert '"end_reason":"returned"' in said.replace(" ", "")
    assert (home / "model.pt").read_text() == "model\n"


@pytest.mark.skipif(not PRODUCT.exists(), reason="the product's document is not beside the clone")
def test_the_products_menu(dev: Dev, home: Path) -> None:
    section = PRODUCT.read_text().split("\n## GPU models & pricing\n", 1)[1]
    command, shown = section.split("```bash\n$ ", 1)[1].split("```", 1)[0].split("\n", 1)
    said = run(command.replace("https://api.kgpu.net/v1", dev.env["KGPU_API_BASE"]), home)
    menu = {line["gpu_model"]: line for line in json.loads(said)}
    for line in json.loads(shown):
        ours = menu[line["gpu_model"]]
        assert list(ours) == list(line)
        # What is free is the moment's.
        assert {**ours, "free": 0} == {**line, "free": 0}


@pytest.mark.skipif(not PRODUCT.exists(), reason="the product's document is not beside the clone")
def test_the_products_powershell(dev: Dev, home: Path) -> None:
    """What Invoke-RestMethod sends for the section's lines, and its ssh line as it stands."""
    block = PRODUCT.read_text().split("```powershell\n", 1)[1].split("```", 1)[0]
    asked = re.findall(r'Invoke-RestMethod (?:-Method (\w+) )?-Uri "\$B(/pods[^"]*)"', block)
    assert asked == [("Post", "/pods"), ("", "/pods/$RENT"), ("Delete", "/pods/$RENT")]
    assert '-ContentType "application/json"' in block
    fields = re.findall(r"(\w+) = (?:\"rtx4090\"|\(& ssh-keygen)", block)
    assert fields == ["gpu_model", "ssh_pubkey"]
    # `ssh-keygen -y` has no comment, and PowerShell takes its last newline away.
    key = home / ".ssh" / "id_ed25519"
    public = output(["ssh-keygen", "-y", "-f", str(key)]).decode().rstrip("\n")
    rent = dev.api("POST", "/pods", {"gpu_model": "rtx4090", "ssh_pubkey": public})
    path = f"/pods/{rent['pod_id']}"
    eventually(lambda: dev.api("GET", path)["ready"], STEP_SECONDS)
    [ssh] = [line.split("#")[0] for line in block.splitlines() if line.startswith("ssh ")]
    ssh = ssh.replace("ssh.kgpu.net", dev.env["KGPU_SSH_HOST"])
    assert "SIMULATED" in run(ssh.replace("2222", dev.env["KGPU_SSH_PORT"]), home)
    assert dev.api("DELETE", path)["end_reason"] == "returned"
