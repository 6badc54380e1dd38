"""The product's own command lines for getting into a pod and moving files, run as they stand."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.dev import Dev, Pod, rent
from tests.e2e.test_quickstart import PRODUCT, home, run

__all__ = ["home"]

pytestmark = pytest.mark.skipif(
    not PRODUCT.exists(), reason="the product's document is not beside the clone"
)


def blocks(heading: str, language: str = "bash") -> list[str]:
    """Return a section's blocks, those of its subsections included."""
    level = heading.split(" ", 1)[0]
    after = PRODUCT.read_text().split(f"\n{heading}\n", 1)[1]
    section = re.split(rf"\n#{{2,{len(level)}}} ", after, maxsplit=1)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def here(script: str, dev: Dev) -> str:
    script = script.replace("ssh.kgpu.net", dev.env["KGPU_SSH_HOST"])
    return script.replace("2222", dev.env["KGPU_SSH_PORT"])


@pytest.fixture
def rented(dev: Dev, home: Path) -> Iterator[Pod]:
    pod = rent(dev, home / ".ssh" / "id_ed25519")
    yield pod
    pod.release()


def variables(dev: Dev, pod: Pod) -> str:
    env = dev.env
    return f"B={env['KGPU_API_BASE']} T={env['KGPU_API_TOKEN']} RENT={pod.pod_id}\n"


def test_getting_into_the_pod(dev: Dev, home: Path, rented: Pod) -> None:
    execute, in_and_out = blocks("## Getting into the pod")
    script = variables(dev, rented) + execute + "exec </dev/null\n" + here(in_and_out, dev)
    said = run(script, home)
    assert '"exit_code": 0' in said
    assert said.count("SIMULATED") >= 2


def test_a_config_block_per_pod_and_detached_jobs(dev: Dev, home: Path, rented: Pod) -> None:
    [host] = re.findall(r"```\n(Host .*?)```", PRODUCT.read_text(), re.DOTALL)
    config, key = home / ".ssh" / "config", home / ".ssh" / "id_ed25519"
    # ssh finds no home but its account's, so the file's own lines stay for the known hosts.
    lines = config.read_text().replace("IdentityFile", "#")
    config.write_text(here(host, dev).replace("~/.ssh/id_ed25519", str(key)) + lines)
    # The product's image has a `python`; here it goes by another name.
    program = (
        "ln -s /usr/bin/python3 /usr/local/bin/python; echo 'print(6 * 7)' >/workspace/train.py"
    )
    assert rented.ssh(program).returncode == 0
    [detach] = blocks("### Detaching long-running jobs")
    began, follow = detach.splitlines()[:2]
    assert run(began, home) == ""
    # It follows for ever: until the line is there.
    until = ">seen & until grep . seen; do sleep 0.05; done; kill $!"
    assert run("touch seen; " + follow.split("#")[0] + until, home) == "42\n"


def test_moving_files(dev: Dev, home: Path, rented: Pod) -> None:
    (home / "mit-bih.zip").write_bytes(os.urandom(100_000))
    (home / "mnt").mkdir()
    assert rented.ssh("mkdir /workspace/out && echo model >/workspace/out/model.pt").returncode == 0
    [copy] = blocks("### scp / rsync (over the bastion)")
    [mount] = blocks("### Live mount — sshfs")
    assert "fusermount" in mount
    edit = "echo edited >mnt/out/notes\n"
    before, after = here(mount, dev).split("# ...edit", 1)
    # Without its remark on macOS, the second half takes the mount away again.
    mount = before + edit + "\n".join(after.splitlines()[1:]).split("#")[0]
    run(here(copy, dev), home)
    assert (home / "out" / "model.pt").read_text() == "model\n"
    assert rented.ssh("cat /tmp/mit-bih.zip").stdout == (home / "mit-bih.zip").read_bytes()
    if os.path.exists("/dev/fuse"):
        run(mount, home)
        assert rented.ssh("cat /workspace/out/notes").stdout == b"edited\n"
