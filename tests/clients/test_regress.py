"""The regression scripts of OpenSSH itself that a server can pass which they may not configure.

Left out are those that need an sshd of their own (cfg*, key-options, banner, login-timeout, …),
forwarding (multiplex, forwarding, dynamic-forward), variables of their own (envpass) or algorithms
that are refused here (rekey, try-ciphers, dhgex, keyscan); and those that ask no server anything.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.dev import Dev, make_key, rent

from .regress import SCRIPTS, Shared, share
from .shows import BARE, DEFAULT

pytestmark = pytest.mark.skipif(not SCRIPTS.exists(), reason="openssh-tests is not installed")

# What each gets to copy; sftp moves it in pieces of five bytes.
DATA = {"sftp": 3_000}
QUICK = [
    "broken-pipe",
    "connect",
    "exit-status",
    "sftp-batch",
    "stderr-after-eof",
    "stderr-data",
    "transfer",
    "yes-head",
]
LONG = [
    "connect-uri",
    "exit-status-signal",
    "knownhosts",
    "localcommand",
    "portnum",
    "scp",
    "scp-uri",
    "scp3",
    "sftp",
    "sftp-badcmds",
    "sftp-cmds",
    "sftp-glob",
    "sftp-uri",
]
# What must fail, by image and script; nothing else may.
KNOWN = {
    # The bastion's own server does not know copy-data, which OpenSSH's has had since 9.0.
    (BARE, "sftp-cmds"): ["FAIL [sftp commands: cp] created file is not equal after cp"],
}


@pytest.fixture(scope="module")
def hurried(dev: Dev, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    pod = rent(dev, make_key(tmp_path_factory.mktemp("regress") / "key"), gpu_count=0)
    yield share(pod, hurried=True)
    pod.release()


@pytest.fixture(scope="module", params=[DEFAULT, BARE])
def at_length(
    dev: Dev, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Shared]:
    key = make_key(tmp_path_factory.mktemp("regress") / "key")
    pod = rent(dev, key, gpu_count=0, image=request.param)
    yield share(pod, hurried=False)
    pod.release()


def check(shared: Shared, image: str, name: str) -> None:
    done = shared.run(name, DATA.get(name, 350_000))
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    known = KNOWN.get((image, name), [])
    assert (done.returncode, failed) == (bool(known), known), done.stdout


@pytest.mark.parametrize("name", QUICK)
def test_a_script_whose_pauses_are_a_tenth(hurried: Shared, name: str) -> None:
    check(hurried, DEFAULT, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(QUICK + LONG))
def test_a_script_as_it_is(at_length: Shared, name: str, request: pytest.FixtureRequest) -> None:
    check(at_length, request.node.callspec.params["at_length"], name)
