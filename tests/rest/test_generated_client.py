"""A client that `openapi-python-client` makes from the description, on a round trip."""

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from .platform import Platform

PACKAGE = "generated_kgpu"


async def generate(platform: Platform, folder: Path) -> None:
    """Generate the client from what the platform serves; any warning is a failure."""
    config = folder / "config.yaml"
    config.write_text("post_hooks: []\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
        *("--url", f"{platform.api.root}/openapi.json", "--config", str(config)),
        *("--output-path", str(folder / PACKAGE)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert b"arning" not in said, said.decode()


def module(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


async def test_a_rental_from_a_generated_client(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await generate(platform, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    models = module("models")
    user = await platform.user()
    base = f"{platform.api.root}/v1"
    async with module("client").AuthenticatedClient(base_url=base, token=user.token) as client:

        async def call(name: str, *path: str, **given: Any) -> Any:
            return await module(f"api.{name}").asyncio(*path, client=client, **given)

        assert (await call("me.get_me")).email == user.email
        menu = await call("gpu_models.list_gpu_models")
        assert "rtx4090" in {line.gpu_model for line in menu}
        rented = await call("pods.rent_pod", body=models.Rent(gpu_count=0, name="made"))
        pod_id = rented.pod_id
        assert rented.ssh_access.private_key.startswith("-----BEGIN OPENSSH")
        await platform.ready(user, pod_id)
        pod = await call("pods.get_pod", pod_id)
        assert (pod.phase, pod.ready, pod.end_reason) == ("Running", True, None)
        body = models.Exec(cmd=["cat"], stdin="hello")
        done = await call("pods.exec_command", pod_id, body=body)
        assert (done.exit_code, done.stdout) == (0, "hello")
        # No body at all, though its type is announced.
        rotated = await call("pods.rotate_key", pod_id)
        assert rotated.ssh_access.fingerprint != rented.ssh_access.fingerprint
        listed = await call("pods.list_pods", limit=1, active=True)
        assert [one.pod_id for one in listed] == [pod_id]
        assert (await call("pods.release_pod", pod_id)).end_reason == "returned"
        refused = await call("pods.exec_command", pod_id, body=body)
        assert (refused.status, refused.code) == (409, "pod_ended")
