"""A daemon on a cluster: the one that KGPUD_CONFORMANCE_KUBECONFIG leads to, else a local one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.dev import Dev, Pod, eventually, make_key
from tests.e2e.serve import front, serving, sign_up, write_config
from tests.operator.installing import installed

# Images may have to be pulled there.
READY_SECONDS = 600.0


@dataclass(frozen=True)
class Target:
    """Which cluster is tried, with what. `options` are for the daemon's configuration."""

    kubeconfig: Path
    namespace: str
    image: str
    gpu_model: str


@dataclass(frozen=True)
class Site:
    """A daemon on the target. Its configuration outlives it."""

    target: Target
    config: Path
    dev: Dev

    def rent(self, key: Path, **fields: object) -> Pod:
        """Rent a small pod and wait until it is ready."""
        public = key.with_suffix(".pub").read_text()
        wish: dict[str, object] = {
            "gpu_model": self.target.gpu_model,
            "image": self.target.image,
            "cpu": "1",
        }
        wish |= {"memory": "1Gi", "ephemeral_storage_gib": 2, "ssh_pubkey": public}
        answer = self.dev.api("POST", "/pods", {**wish, **fields})
        assert answer["_status"] == 200, answer
        pod = Pod(self.dev, answer["pod_id"], key)
        eventually(lambda: _settled(pod), READY_SECONDS)
        return pod


def _settled(pod: Pod) -> bool:
    view = pod.view()
    assert view["end_reason"] is None, view
    return bool(view["ready"])


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    named = os.environ.get("KGPUD_CONFORMANCE_KUBECONFIG")
    wishes = (
        os.environ.get("KGPUD_CONFORMANCE_NAMESPACE", "kgpu"),
        os.environ.get("KGPUD_CONFORMANCE_IMAGE", "kgpu-pytorch:latest"),
        os.environ.get("KGPUD_CONFORMANCE_CLASS", "v100"),
    )
    if named:
        yield Target(Path(named).absolute(), *wishes)
        return
    with installed(tmp_path_factory.mktemp("conformance")) as local:
        yield Target(local.kubeconfig, *wishes)


@pytest.fixture(scope="module")
def folder(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration's folder."""
    made = tmp_path_factory.mktemp("site")
    local = f'[images]\nlocal = ["{target.image}"]\ndefault = "{target.image}"\n'
    config = write_config(made, target.kubeconfig, f"{local}[gpu.{target.gpu_model}]\n"
                          "price_per_hour = 600\n")  # fmt: skip
    text = config.read_text()
    config.write_text(text.replace("[cluster]", f'[cluster]\nnamespace = "{target.namespace}"'))
    return made


@contextmanager
def running(target: Target, folder: Path, token: str | None = None) -> Iterator[Site]:
    """Run the daemon while the block runs; the first time, with an account that may rent."""
    config = folder / "kgpud.toml"
    with serving(config) as process:
        dev = front(config, process, token or sign_up(config))
        yield Site(target, config, dev)


@pytest.fixture(scope="module")
def site(target: Target, folder: Path) -> Iterator[Site]:
    with running(target, folder) as started:
        yield started


@pytest.fixture(scope="module")
def pod(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A rental with one GPU."""
    rented = site.rent(make_key(tmp_path_factory.mktemp("key") / "key"), gpu_count=1)
    yield rented
    rented.release()
    # A real cluster keeps what its tests leave.
    eventually(lambda: rented.view()["phase"] == "Ended", 120)
