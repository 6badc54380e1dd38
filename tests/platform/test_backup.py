"""The operator's guide to backups, run as it stands: with a pod and a key that are newer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from kgpud.clock import SystemClock
from tests.platform.child import serving, sign_up
from tests.platform.fake_api import FakeApi
from tests.platform.test_killed import gets_in, new_key, public

GUIDE = Path(__file__).parents[2] / "docs/operator.md"


def guide(block: int, state: Path, copies: Path) -> None:
    """Run a block of the chapter with these folders in place of an installation's."""
    chapter = GUIDE.read_text().split("\n## Backing it up\n", 1)[1].split("\n## ", 1)[0]
    script = chapter.split("```sh\n")[1 + block].split("```", 1)[0]
    for told, here in (("/var/lib/kgpud", state), ("/var/backups/kgpud", copies)):
        script = script.replace(told, str(here))
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-ec", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done


@pytest.fixture
def key() -> asyncssh.SSHKey:
    return new_key()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="no sqlite3")
async def test_the_guide_to_backups(api: FakeApi, tmp_path: Path, key: asyncssh.SSHKey) -> None:
    state, copies = tmp_path / "state", tmp_path / "copies"
    async with serving(state, tmp_path / "kubeconfig") as child:
        token = await sign_up(state)
        _, before = await child.call("POST", "/pods", token, ssh_pubkey=public(key))
        api.run(before["pod_id"], SystemClock().now_ms())
        await child.eventually(f"/pods/{before['pod_id']}", token, lambda pod: bool(pod["ready"]))
        guide(0, state, copies)
        renewed = new_key()
        path = f"/pods/{before['pod_id']}"
        await child.call("PATCH", path, token, ssh_pubkey=public(renewed))
        _, since = await child.call("POST", "/pods", token, ssh_pubkey=public(key))
        api.run(since["pod_id"], SystemClock().now_ms())
        await child.eventually(f"/pods/{since['pod_id']}", token, lambda pod: bool(pod["ready"]))
        await child.kill()
    guide(1, state, copies)
    async with serving(state, tmp_path / "kubeconfig") as child:
        _, pods = await child.call("GET", "/pods", token)
        assert {(pod["pod_id"], pod["phase"]) for pod in pods} == {
            (before["pod_id"], "Running"),
            (since["pod_id"], "Running"),
        }
        prints = {pod["pod_id"]: pod["ssh_access"]["fingerprint"] for pod in pods}
        assert prints[since["pod_id"]] == key.get_fingerprint()
        assert prints[before["pod_id"]] == renewed.get_fingerprint()
        assert await gets_in(child, renewed)
        status, ended = await child.call("DELETE", f"/pods/{since['pod_id']}", token)
        assert (status, ended["end_reason"]) == (200, "returned")
