"""The configuration: what it takes, what it refuses, and that its example tells the truth."""

import dataclasses
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.admission import Limits
from gateway.penalties import Penalties
from kgpud.catalog_settings import Images
from kgpud.cli import main
from kgpud.config import Address, Config, ConfigError, GpuClass, load

EXAMPLE = Path(__file__).parents[2] / "config" / "kgpud.toml"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "kgpud.toml"
    path.write_text(text)
    return path


def leaves(node: Any, at: str = "") -> Iterator[str]:
    if dataclasses.is_dataclass(node) and not isinstance(node, Address):
        for field in dataclasses.fields(node):
            yield from leaves(getattr(node, field.name), f"{at}.{field.name}".lstrip("."))
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{at}.{key}")
    else:
        yield at


def keys(node: Any, at: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from keys(value, f"{at}.{key}".lstrip("."))
    else:
        yield at


def test_the_example_is_the_defaults() -> None:
    assert load(EXAMPLE) == Config()


def test_the_example_names_every_setting() -> None:
    assert set(keys(tomllib.loads(EXAMPLE.read_text()))) == set(leaves(Config()))


def test_the_example_explains_every_table_and_setting() -> None:
    blocks = re.split(r"\n\s*\n", EXAMPLE.read_text())
    unexplained = [block for block in blocks if "#" not in block and not block.startswith("[gpu.")]
    assert unexplained == []


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")) == Config()


def test_the_default_limits_are_the_gateway_s_own() -> None:
    ours = Config().ssh.limits()
    assert dataclasses.replace(ours, exempt=()) == Limits()
    assert ip_network("127.0.0.0/8") in ours.exempt


def test_every_limit_of_the_front_door_can_be_set(tmp_path: Path) -> None:
    lines, nested = [], []
    for field in dataclasses.fields(Limits):
        if field.name in ("penalties", "exempt", "known_seconds"):
            continue
        lines.append(f"{field.name} = 7")
    nested = [f"{field.name} = 7.0" for field in dataclasses.fields(Penalties)]
    text = "\n".join(
        ["[ssh]", *lines, "known_days = 7", 'exempt = ["192.0.2.0/24"]', "[ssh.penalties]", *nested]
    )
    limits = load(written(tmp_path, text)).ssh.limits()
    assert limits == Limits(
        **{line.split()[0]: 7 for line in lines},
        known_seconds=7 * 86_400.0,
        penalties=Penalties(7, 7, 7, 7, 7),
        exempt=(ip_network("192.0.2.0/24"),),
    )


def test_tables_of_gpus_replace_the_menu(tmp_path: Path) -> None:
    config = load(written(tmp_path, "[gpu.h200]\nprice_per_hour = 5000"))
    assert config.gpu == {"h200": GpuClass(5000, "")}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("foo = 1", "foo: unknown setting"),
        ("[ssh]\nattempts = 0", "ssh.attempts: "),
        ('[ssh]\nattempts = "6"', "ssh.attempts: must be a whole number"),
        ("[ssh]\nstartups_rate = 101", "ssh.startups_rate: must be a percentage"),
        ('[ssh]\nexempt = ["10.0.0.1/8"]', "ssh.exempt.0: must be a network such as"),
        ('[ssh]\nexempt = "10.0.0.0/8"', "ssh.exempt: must be a list"),
        ('[ssh]\nlogin_seconds = "60"', "ssh.login_seconds: must be a whole number"),
        ("[ssh.penalties]\nrefused = -1.0", "ssh.penalties.refused: "),
        ("[ssh.penalties]\ncrash = 90", "ssh.penalties.crash: unknown setting"),
        ("[http]\nlsten = 1", "http.lsten: unknown setting"),
        ("[httpd]", "httpd: unknown setting"),
        ("[gpu.a]\nprice_per_hour = 1\ncolour = 2", "gpu.a.colour: unknown setting"),
        ("[gpu.a]", "gpu.a.price_per_hour: is required"),
        ("[gpu.a]\nprice_per_hour = -1", "gpu.a.price_per_hour: "),
        ("[gpu.a]\nprice_per_hour = 1.5", "gpu.a.price_per_hour: must be a whole number"),
        ('[pods]\nruntime_class = "No"', "pods.runtime_class: must be an object's name"),
        ('[pods]\nproduct_label = "a b"', "pods.product_label: must be a label's name"),
        ('[pods]\ntolerations = ["a"]', "pods.tolerations.0: must be a taint"),
        ("[pods]\nhost_users = 1", "pods.host_users: "),
        ('[network]\ndns = ["kube-dns"]', "network.dns.0: must be an IP address"),
        ('[network]\nallow = ["db:1"]', "network.allow.0: must be IP:PORT"),
        ('[network]\ndeny = ["10.0.0.1/8"]', "network.deny.0: must be a network such as"),
        ('[network]\ndeny = ["::/0"]', "network.deny.0: would leave pods no network"),
        ('[network]\ndns = ["fe80::1%eth0"]', "network.dns.0: must be an IP address"),
        ("[cluster]\nmost_pods = 0", "cluster.most_pods: "),
        ('[images]\nkernels = ["sm_75"]', "images.kernels.0: must be a CUDA compute capability"),
        (
            (
                '[gpu]\na = {price_per_hour = 1, products = ["X"]}'
                '\nb = {price_per_hour = 1, products = ["X"]}'
            ),
            "gpu.b.products: X is gpu.a's already",
        ),
        (
            '[gpu.a]\nprice_per_hour = 1\nproducts = ["NVIDIA GeForce RTX 4090"]',
            "gpu.a.products.0: must be as the node's label has it",
        ),
        ("[gpu.Big]\nprice_per_hour = 1", "gpu.Big: a GPU class is named"),
        ("gpu = 1", "gpu: must be a table"),
        ("http = 1", "http: must be a table"),
        ('state = "here"', "state: must be an absolute path"),
        ("state = 1", "state: must be a path in quotes"),
        ('[cluster]\nkubeconfig = "here"', "cluster.kubeconfig: must be an absolute path"),
        ('[cluster]\nnamespace = "No"', "cluster.namespace: "),
        ('ssh_port = "2222"', "ssh_port: must be a whole number"),
        ("ssh_port = 65536", "ssh_port: "),
        ("trial_credits = true", "trial_credits: must be a whole number"),
        ("trial_credits = -1", "trial_credits: "),
        ('ssh_host = "a:22"', "ssh_host: must be a host alone"),
        ('public_url = "api.example.org"', "public_url: must be http(s)://"),
        ('public_url = "https://example.org/kgpu"', "public_url: must be http(s)://"),
        ('public_url = "https://u:p@example.org"', "public_url: must be http(s)://"),
        ('public_url = "https://example.org:99999"', "public_url: "),
        ('[http]\nlisten = "8080"', "http.listen: must be HOST:PORT"),
        ('[http]\nlisten = "a:70000"', "http.listen: must be HOST:PORT"),
        ('[images]\nlocal = "a"', "images.local: must be a list"),
        ('[images]\nlocal = [""]', "images.local.0: must not be empty"),
        ('[images]\ndefault = "mine"', "images.default: is neither"),
        ('[log]\nlevel = "loud"', "log.level: "),
        ("[drain]\nseconds = -1", "drain.seconds: "),
        ("a = ", "not TOML"),
        ('a = "\x00"', "not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_file(tmp_path: Path, text: str, named: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith(f"{path}: {named}")


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, 'foo = 1\nssh_port = ""\n[log]\nlevel = 3')
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert len(refused.value.problems) == 3


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[::]:2222", Address("::", 2222)),
        ("localhost:80", Address("localhost", 80)),
    ],
)
def test_addresses_are_read_and_written_alike(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


def test_what_users_are_told() -> None:
    http, ssh = Address("0.0.0.0", 8080), Address("::", 2222)
    assert Config().api_base(http) == "http://127.0.0.1:8080/v1"
    assert Config().ssh_address(ssh) == Address("::1", 2222)
    public = Config(public_url="https://api.example.org", ssh_port=22)
    assert public.api_base(http) == "https://api.example.org/v1"
    assert public.ssh_address(ssh) == Address("api.example.org", 22)
    assert Config(ssh_host="ssh.example.org").ssh_address(ssh).host == "ssh.example.org"


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        ("kgpu-pytorch:latest", True),
        ("ghcr.io/owner/name:tag", True),
        ("docker.io/library/debian", True),
        ("kgpu-pytorch:other", False),
        ("debian", False),
        ("quay.io/owner/name", False),
        ("ghcr.io", False),
        ("ghcr.io/", False),
        ("ghcr.io.evil.org/owner/name", False),
        ("evil.org/ghcr.io/name", False),
        ("ghcr.io/our-lab/../other/name", False),
        ("ghcr.io//name", False),
    ],
)
def test_which_images_may_be_rented(image: str, allowed: bool) -> None:
    assert Config().images.allows(image) is allowed


def test_a_folder_of_a_registry_may_be_all_that_is_allowed() -> None:
    images = Images(allowed_registries=("ghcr.io/our-lab",))
    assert images.allows("ghcr.io/our-lab/name:1")
    assert not images.allows("ghcr.io/our-lab-2/name:1")
    assert not images.allows("ghcr.io/other/name:1")


def test_config_check_says_ok() -> None:
    result = CliRunner().invoke(main, ["config", "check", "--config", str(EXAMPLE)])
    assert (result.exit_code, result.output) == (0, f"{EXAMPLE}: ok\n")


def test_config_check_says_every_mistake(tmp_path: Path) -> None:
    path = written(tmp_path, "foo = 1\nbar = 2")
    result = CliRunner().invoke(main, ["config", "check", "--config", str(path)])
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{path}: foo: unknown setting",
        f"{path}: bar: unknown setting",
    ]


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from kgpud.cli import main; main(['--help'], standalone_mode=False);"
        "heavy = {'aiohttp', 'pydantic', 'asyncssh', 'aiosqlite', 'kubernetes_asyncio'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("dev", "serve", "local-cluster", "user", "pod", "config"):
        assert f"\n  {command} " in done.stdout


def test_what_cannot_be_written_is_one_line() -> None:
    argv = [sys.executable, "-m", "kgpud", "config", "check", "--config", str(EXAMPLE)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: the output is incomplete: No space left on device\n"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_has_no_mistake(tmp_path: Path) -> None:
    unit = EXAMPLE.parents[1] / "systemd" / "kgpud.service"
    copy = tmp_path / "kgpud.service"
    # The command that it starts is checked to exist, and here it is installed elsewhere.
    copy.write_text(unit.read_text().replace("/usr/local/bin/kgpud", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    about_us = [line for line in done.stderr.splitlines() if "kgpud.service" in line]
    assert (done.returncode, about_us) == (0, [])


def test_systemd_outwaits_the_drain() -> None:
    unit = (EXAMPLE.parents[1] / "systemd" / "kgpud.service").read_text()
    stop = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert stop
    assert int(stop[1]) > Config().drain.seconds


def test_the_unit_does_not_hide_which_boot_it_is() -> None:
    """What clocks count from: kgpud.clock reads it, and a set clock would else be charged for."""
    unit = (EXAMPLE.parents[1] / "systemd" / "kgpud.service").read_text()
    assert Path("/proc/sys/kernel/random/boot_id").read_text()
    assert "ProcSubset=pid" not in [line.strip() for line in unit.splitlines()]
