"""Every kind of key that a user may have, pinned to a rental and signed with by the real client."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.dev import Dev, Pod, make_key, output, rent

from .regress import SCRIPTS

# A token of software, which OpenSSH tests itself with.
TOKEN = SCRIPTS / "misc" / "sk-dummy" / "sk-dummy.so"
has_token = pytest.mark.skipif(not TOKEN.exists(), reason="openssh-tests has no sk-dummy here")
KINDS = [
    ("ed25519", ()),
    ("ecdsa -b 256", ()),
    ("ecdsa -b 384", ()),
    ("ecdsa -b 521", ()),
    ("rsa -b 2048", ("-oPubkeyAcceptedAlgorithms=rsa-sha2-512",)),
    ("rsa -b 3072", ("-oPubkeyAcceptedAlgorithms=rsa-sha2-256",)),
    pytest.param("ed25519-sk", (), marks=has_token),
    pytest.param("ecdsa-sk", (), marks=has_token),
    pytest.param("ed25519-sk -O verify-required", (), marks=has_token),
]


@pytest.fixture(scope="module")
def rental(dev: Dev, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A rental whose key each test changes."""
    key = make_key(tmp_path_factory.mktemp("rental") / "key")
    pod = rent(dev, key, gpu_count=0, image="bare:latest")
    yield pod
    pod.release()


def made(kind: str, path: Path) -> Path:
    env = {**os.environ, "SSH_SK_PROVIDER": str(TOKEN)}
    argv = ["ssh-keygen", "-q", "-N", "", "-C", "me@home", "-f", str(path), "-t", *kind.split()]
    subprocess.run(argv, check=True, capture_output=True, env=env, timeout=20)
    return path


def pinned(rental: Pod, public: Path) -> dict[str, object]:
    body = {"ssh_pubkey": public.read_text()}
    return dict(rental.dev.api("PATCH", f"/pods/{rental.pod_id}", body))


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_key_opens_the_pod(
    rental: Pod, tmp_path: Path, kind: str, options: tuple[str, ...]
) -> None:
    key = made(kind, tmp_path / "key")
    assert pinned(rental, key.with_suffix(".pub"))["_status"] == 200
    pod = Pod(rental.dev, rental.pod_id, key)
    done = pod.ssh(f"-oSecurityKeyProvider={TOKEN}", *options, "hostname")
    assert (done.returncode, done.stdout.decode().strip()) == (0, rental.pod_id), done.stderr


@has_token
def test_a_token_that_nobody_touched_is_refused(rental: Pod, tmp_path: Path) -> None:
    """As by sshd, where authorized_keys doesn't say that it need not be."""
    key = made("ed25519-sk -O no-touch-required", tmp_path / "key")
    assert pinned(rental, key.with_suffix(".pub"))["_status"] == 200
    pod = Pod(rental.dev, rental.pod_id, key)
    done = pod.ssh(f"-oSecurityKeyProvider={TOKEN}", "true")
    assert b"Permission denied (publickey)" in done.stderr


def test_rsa_with_sha1_is_refused(rental: Pod, tmp_path: Path) -> None:
    key = made("rsa -b 2048", tmp_path / "key")
    assert pinned(rental, key.with_suffix(".pub"))["_status"] == 200
    done = Pod(rental.dev, rental.pod_id, key).ssh("-oPubkeyAcceptedAlgorithms=ssh-rsa", "true")
    assert done.returncode == 255
    assert b"Permission denied (publickey)" in done.stderr


def test_a_certificate_of_the_pinned_key_is_refused(rental: Pod, tmp_path: Path) -> None:
    """Its key alone opens the pod; what a stranger's authority says of it does not."""
    key, authority = made("ed25519", tmp_path / "key"), made("ed25519", tmp_path / "authority")
    output(["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n", "kgpu", f"{key}.pub"])
    certificate = tmp_path / "key-cert.pub"
    refused = pinned(rental, certificate)
    assert refused["_status"] == 422
    assert "certificates are not taken" in str(refused)
    assert pinned(rental, key.with_suffix(".pub"))["_status"] == 200
    pod = Pod(rental.dev, rental.pod_id, key)
    only = ("-oPubkeyAcceptedAlgorithms=ssh-ed25519-cert-v01@openssh.com",)
    done = pod.ssh(f"-oCertificateFile={certificate}", *only, "true")
    assert b"Permission denied (publickey)" in done.stderr
    # With both, as ssh has it by itself, the key gets in.
    assert pod.ssh(f"-oCertificateFile={certificate}", "true").returncode == 0


@pytest.mark.parametrize(
    ("kind", "why"),
    [("rsa -b 1024", "RSA keys need at least 2048 bits"), ("dsa", "DSA keys are too weak")],
)
def test_a_weak_key_is_refused(rental: Pod, tmp_path: Path, kind: str, why: str) -> None:
    try:
        key = made(kind, tmp_path / "key")
    except subprocess.CalledProcessError:
        pytest.skip("this ssh-keygen makes none")
    refused = pinned(rental, key.with_suffix(".pub"))
    assert refused["_status"] == 422
    assert why in str(refused)


def test_an_agent_holds_the_key(rental: Pod, tmp_path: Path) -> None:
    key = made("ed25519", tmp_path / "key")
    assert pinned(rental, key.with_suffix(".pub"))["_status"] == 200
    argv = Pod(rental.dev, rental.pod_id, key.with_suffix(".pub")).argv("hostname")
    script = 'ssh-add -q "$0" && rm "$0" && exec "$@"'
    done = subprocess.run(
        ["ssh-agent", "sh", "-c", script, str(key), *argv], capture_output=True, timeout=30
    )
    assert done.stdout.decode().strip() == rental.pod_id, done.stderr
