"""`kgpud manifests`: what it prints, that it is valid, and that kubectl applies it."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from kgpud.address import Address
from kgpud.cli import main
from kgpud.cluster import install, policies
from kgpud.cluster_settings import Network
from kgpud.config import Config
from tests.localcluster import client_schemas

from . import files
from .installing import NOT_THERE, Installed, known

Object = dict[str, Any]


def printed(*words: str) -> str:
    result = CliRunner().invoke(main, ["manifests", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_manifests_are_the_golden_ones(tmp_path: Path) -> None:
    config = tmp_path / "kgpud.toml"
    config.write_text(
        'public_url = "https://10.1.2.3"\n'
        '[cluster]\nnamespace = "gpus"\nmost_pods = 9\n'
        '[pods]\nruntime_class = "nvidia"\ntolerations = ["dedicated=kgpu:NoSchedule"]\n'
        '[images]\ndefault = "ghcr.io/lab/torch:1"\nlocal = ["ghcr.io/lab/torch:1"]\n'
        '[network]\nallow = ["10.1.2.4:9000", "[fd00::1]:443"]\ndeny = ["203.0.113.0/24"]\n'
        '[objects]\nstore = "s3"\n[objects.s3]\nendpoint = "http://192.168.7.7:83"\n'
        'bucket = "bucket"\n'
        '[gpu.h200]\nprice_per_hour = 9\nproducts = ["NVIDIA-H200"]\n'
    )
    files.compare("manifests.yaml", printed("--config", str(config)))


def test_names_that_no_policy_can_let_in_are_told(tmp_path: Path) -> None:
    config = tmp_path / "kgpud.toml"
    config.write_text(
        'public_url = "https://gpus.lab"\n[objects]\nstore = "s3"\n'
        '[objects.s3]\nbucket = "data"\nendpoint = "http://[fd00::7]:9000"\n'
    )
    text = printed("--config", str(config))
    assert "# Pods use gpus.lab:443: if that name has a private address" in text
    assert text.count("# Pods use") == 1
    [policy] = [one for one in yaml.safe_load_all(text) if one["kind"] == "NetworkPolicy"]
    assert passes(policy["spec"], "fd00::7", 9000)
    config.write_text('public_url = "https://[fe80::1%25eth0]"\n')
    zoned = printed("--config", str(config))
    assert ("# Pods use " in zoned, "eth0/128" in zoned) == (True, False)


def test_a_mistake_in_the_configuration_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "kgpud.toml"
    config.write_text("[network]\nallow = ['db:1']")
    result = CliRunner().invoke(main, ["manifests", "--config", str(config)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "network.allow.0: must be IP:PORT" in result.stderr


def test_every_field_is_one_that_kubernetes_has() -> None:
    schemas = client_schemas.schemas()
    for name in ("V1DaemonSet", "V1ResourceQuota"):
        client_schemas._add(schemas, name)
    for document in install.documents(Config()):
        assert list(unknown(schemas, document["kind"], document)) == []
    assert list(unknown(schemas, "ResourceQuota", {"spec": {"hart": {}}})) == ["spec.hart"]


def unknown(schemas: Any, kind: str, value: Any, where: str = "") -> Any:
    """Yield the paths of fields that a type lacks."""
    if kind.startswith("[]"):
        for item in value:
            yield from unknown(schemas, kind.removeprefix("[]"), item, where)
    elif kind in schemas:
        for name, inner in value.items():
            path = f"{where}.{name}".lstrip(".")
            if name in schemas[kind]:
                yield from unknown(schemas, schemas[kind][name], inner, path)
            else:
                yield path


def test_kubectl_applies_them_and_finds_them_unchanged_the_second_time(prepared: Installed) -> None:
    text = printed()
    assert [one["kind"] for one in yaml.safe_load_all(text) if one["kind"] in NOT_THERE] == [
        "ResourceQuota",
        "DaemonSet",
    ]
    again = yaml.safe_dump_all(known(list(yaml.safe_load_all(text))))
    lines = prepared.kubectl("apply", "-f", "-", stdin=again).splitlines()
    assert len(lines) == 8
    assert all(line.endswith(" unchanged") for line in lines), lines
    policy = prepared.kubectl("-n", "kgpu", "get", "networkpolicy", "kgpud-rentals", "-o", "yaml")
    assert yaml.safe_load(policy)["spec"]["policyTypes"] == ["Ingress", "Egress"]


def passes(spec: Object, host: str, port: int, protocol: str = "TCP") -> bool:
    """Do what a network plugin does with the ipBlocks of an egress policy."""
    address = ip_address(host)
    for rule in spec["egress"]:
        ports = [(one["protocol"], one["port"]) for one in rule.get("ports", ())]
        if ports and (protocol, port) not in ports:
            continue
        for peer in rule["to"]:
            block = peer.get("ipBlock", {"cidr": "0.0.0.0/32"})
            left_out = any(address in ip_network(one) for one in block.get("except", ()))
            if address in ip_network(block["cidr"]) and not left_out:
                return True
    return False


SPEC = policies.spec(Network(), [])


@pytest.mark.parametrize(
    ("host", "passed"),
    [
        ("1.1.1.1", True),
        ("172.15.255.255", True),
        ("172.32.0.0", True),
        ("100.128.0.1", True),
        ("2606:4700::1111", True),
        ("10.42.0.7", False),
        ("172.16.0.1", False),
        ("172.31.255.255", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("100.127.255.255", False),
        ("224.0.0.251", False),
        ("255.255.255.255", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("ff02::fb", False),
    ],
)
def test_the_internet_is_reached_and_nothing_private(host: str, passed: bool) -> None:
    assert passes(SPEC, host, 443) is passed
    assert policies.is_private(host) is not passed


def test_names_are_asked_for_and_nothing_else_of_dns_servers() -> None:
    assert passes(SPEC, "169.254.20.10", 53, "UDP")
    assert not passes(SPEC, "169.254.20.10", 80)
    [cluster_dns] = [p for rule in SPEC["egress"] for p in rule["to"] if "podSelector" in p]
    assert set(cluster_dns) == {"namespaceSelector", "podSelector"}
    assert (SPEC["ingress"], SPEC["podSelector"]) == ([], {})


@given(
    host=st.ip_addresses().map(str),
    port=st.integers(1, 65535),
    other=st.integers(1, 65535),
)
def test_a_service_of_ours_is_reached_at_its_port_alone(host: str, port: int, other: int) -> None:
    spec = policies.spec(Network(), [Address(host, port)])
    assert passes(spec, host, port)
    if other not in (port, 53):
        assert passes(spec, host, other) is not policies.is_private(host)


def test_our_own_public_network_can_be_shut_off() -> None:
    spec = policies.spec(Network(deny=("203.0.113.0/24", "2001:db8::/32")), [])
    assert not passes(spec, "203.0.113.9", 443)
    assert not passes(spec, "2001:db8::9", 443)
    assert passes(spec, "203.0.112.9", 443)
