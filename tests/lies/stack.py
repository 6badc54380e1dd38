"""A daemon, its cluster, and between them a chaos proxy and a bench of liars."""

import re
import secrets
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

_KUBECONFIG = "kubeconfig"


@dataclass(frozen=True)
class Stack:
    """All that runs. `chaos` lives in `thread`, which alone may call it."""

    dev: Dev
    cluster: clusters.Running
    thread: Thread
    chaos: chaos.Chaos
    folder: Path

    def rent(self) -> Pod:
        """Rent a pod with a key of its own and wait until it is ready."""
        return rent(self.dev, make_key(self.folder / f"key-{secrets.token_hex(4)}"))


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """Run everything on free ports, in folders below `folder`, with an account that may rent.

    Whatever it was told, the daemon must not have been surprised.
    """
    with (
        clusters.running(folder / "cluster") as cluster,
        thread() as background,
        background.serving(lambda: chaos.running(address(cluster))) as proxy,
        background.serving(liars.serving) as port,
    ):
        proxy.elsewhere = lambda word: ("127.0.0.1", port) if liars.means(word) else None
        lead_to(folder, cluster, proxy)
        config = write_config(folder, folder / _KUBECONFIG)
        with serving(config) as process:
            dev = front(config, process, sign_up(config))
            yield Stack(dev, cluster, background, proxy, folder)
        log = config.with_suffix(".log").read_text()
        assert not re.search("Traceback|crashed", log), log


def address(cluster: clusters.Running) -> chaos.Address:
    """Return where a cluster listens."""
    split = urlsplit(cluster.url)
    assert split.hostname
    assert split.port
    return split.hostname, split.port


def lead_to(folder: Path, cluster: clusters.Running, proxy: chaos.Chaos) -> None:
    """Write the daemon's kubeconfig: to this cluster, through the proxy."""
    text = (cluster.state / _KUBECONFIG).read_text()
    here = cluster.url.replace(str(address(cluster)[1]), str(proxy.port))
    (folder / _KUBECONFIG).write_text(text.replace(cluster.url, here))
