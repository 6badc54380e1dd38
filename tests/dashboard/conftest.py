"""One daemon with a real OpenID provider beside it, for all pages; and a real browser."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.chromium import launched
from tests.e2e.dev import eventually, output
from tests.e2e.serve import free_port, serving, write_config

from .browser import Site

PEOPLE = (
    {"sub": "boss", "email": "boss@example.org", "email_verified": True, "name": "The boss"},
    {"sub": "ada", "email": "ada@example.org", "email_verified": True, "name": "Ada"},
    {"sub": "carol", "email": "carol@example.org", "email_verified": True, "name": "Carol"},
    {"sub": "dave", "email": "dave@example.org", "email_verified": True, "name": "Dave"},
    {"sub": "bob", "email": "bob@trusted.example", "email_verified": True, "name": "Bob"},
    {"sub": "eve", "email": "eve@example.org", "email_verified": False, "name": "Eve"},
    # The provider has given Ada's address to somebody else.
    {"sub": "mallory", "email": "ada@example.org", "email_verified": True, "name": "Mallory"},
    {
        "sub": "evil",
        "email": '"><img/src=x/onerror=owned=1>@trusted.example',
        "email_verified": True,
        "name": "\"'><img src=x onerror=owned=1><script>owned=1</script>",
    },
    {
        "sub": "script",
        "email": "s@trusted.example",
        "email_verified": True,
        "name": "<script>document.title='owned'</script>",
    },
)


@pytest.fixture(scope="session")
def provider() -> Iterator[str]:
    port = free_port()
    argv = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)]
    for person in PEOPLE:
        argv += ["--user-claims", json.dumps(person)]
    issuer = f"http://127.0.0.1:{port}"
    quiet = subprocess.DEVNULL
    with subprocess.Popen(argv, stdout=quiet, stderr=quiet) as process:
        try:
            about = f"{issuer}/.well-known/openid-configuration"
            eventually(lambda: b"issuer" in output(["curl", "-s", about], code=None))
            yield issuer
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    state = tmp_path_factory.mktemp("cluster")
    argv = [sys.executable, "-m", "kgpud", "local-cluster", "--state", str(state)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            yield Path(json.loads(process.stdout.readline())["kubeconfig"])
        finally:
            process.terminate()
        assert process.wait(20) == 0


@pytest.fixture(scope="session")
def site(
    tmp_path_factory: pytest.TempPathFactory, provider: str, kubeconfig: Path
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("dashboard")
    (folder / "client.secret").write_text("a secret\n")
    more = f"""
[sign_in]
issuer = "{provider}"
name = "the test provider"
client_id = "kgpud"
client_secret_file = "{folder / "client.secret"}"
approved_domains = ["trusted.example"]
"""
    config = write_config(folder, kubeconfig, more, drain=0)
    site = Site(config, provider)
    with serving(config):
        site.kgpud("user", "add", "boss@example.org", "--role", "maintainer")
        site.kgpud("user", "approve", "boss@example.org")
        yield site


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser
