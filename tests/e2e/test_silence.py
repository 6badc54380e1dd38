"""Peers that don't answer any more though nobody hung up: a stopped client, a stopped cluster."""

import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.localcluster import clusters

from .dev import Dev, Pod, eventually, make_key, rent
from .serve import front, serving, sign_up, write_config

QUICK = """\
keepalive_seconds = 1
keepalive_count = 1
[gateway]
ping_seconds = 0.5
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.Running]:
    with clusters.running(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def quick(cluster: clusters.Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A daemon that loses its patience soon."""
    config = write_config(tmp_path_factory.mktemp("quick"), cluster.state / "kubeconfig", QUICK)
    with serving(config) as process:
        yield front(config, process, sign_up(config))


@pytest.fixture(scope="module")
def quick_pod(quick: Dev, tmp_path_factory: pytest.TempPathFactory) -> Pod:
    return rent(quick, make_key(tmp_path_factory.mktemp("key") / "key"))


def begun(pod: Pod) -> tuple[subprocess.Popen[bytes], str]:
    """Run a command that never ends; return its client and its process in the pod."""
    client = pod.start("echo $$; exec sleep 1000")
    assert client.stdout
    return client, client.stdout.readline().decode().strip()


def has_ended(pod: Pod, pid: str) -> bool:
    return pod.ssh(f"kill -0 {pid} || echo ended").stdout == b"ended\n"


def test_a_client_that_answers_nothing_takes_its_command_along(quick_pod: Pod) -> None:
    """One that is only quiet stays."""
    quiet, _ = begun(quick_pod)
    client, pid = begun(quick_pod)
    client.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: has_ended(quick_pod, pid))
        assert quiet.poll() is None
    finally:
        client.send_signal(signal.SIGCONT)
        client.communicate(timeout=20)
        quiet.kill()
        quiet.communicate()
    assert client.returncode == 255


def test_a_cluster_that_answers_nothing_ends_the_session(
    cluster: clusters.Running, quick_pod: Pod
) -> None:
    client, pid = begun(quick_pod)
    cluster.process.send_signal(signal.SIGSTOP)
    try:
        _, said = client.communicate(timeout=20)
    finally:
        cluster.process.send_signal(signal.SIGCONT)
    broke = "the connection to the pod broke: the API server was silent for 2 s"
    assert said.decode() == f"kgpud: {broke}; the command may still be running\n"
    assert client.returncode == 255
    # The attempts to end it go on.
    eventually(lambda: has_ended(quick_pod, pid))
