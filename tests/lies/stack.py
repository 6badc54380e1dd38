"""A daemon, its cluster, and between them a chaos proxy and a bench of liars."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.dev import Dev, Pod, make_key, rent
from tests.e2e.serve import front, serving, sign_up, write_config
from tests.localcluster import clusters

from . import chaos, liars
from .background import Thread, thread


@dataclass(frozen=True)
class Stack:
    """All that runs. `chaos` lives in `thread`, which alone may call it."""

    dev: Dev
    cluster: clusters.Running
    thread: Thread
    chaos: chaos.Chaos
    key: Path

    def rent(self) -> Pod:
        return rent(self.dev, self.key)


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """Run everything on free ports, in folders below `folder`, with an account that may rent."""
    with (
        clusters.running(folder / "cluster") as cluster,
        thread() as background,
        background.serving(lambda: chaos.running(_address(cluster.url))) as proxy,
        background.serving(liars.serving) as port,
    ):
        proxy.elsewhere = lambda word: ("127.0.0.1", port) if liars.means(word) else None
        config = _configure(folder, cluster, proxy.port)
        with serving(config) as process:
            dev = front(config, process, sign_up(config))
            yield Stack(dev, cluster, background, proxy, make_key(folder / "key"))


def _address(url: str) -> chaos.Address:
    split = urlsplit(url)
    assert split.hostname
    assert split.port
    return split.hostname, split.port


def _configure(folder: Path, cluster: clusters.Running, port: int) -> Path:
    """Write a configuration that leads to the cluster through a port of ours."""
    kubeconfig = folder / "kubeconfig"
    text = (cluster.state / "kubeconfig").read_text()
    here = cluster.url.replace(str(_address(cluster.url)[1]), str(port))
    kubeconfig.write_text(text.replace(cluster.url, here))
    return write_config(folder, kubeconfig)
