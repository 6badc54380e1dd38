"""What rented pods may talk to: the NetworkPolicy of their namespace. Pure.

A policy is what the cluster's network plugin makes of it; `docs/operator.md` says what none can do.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from kgpud.address import Address
from kgpud.cluster_settings import Network

Object = dict[str, Any]

# RFC 1918, link-local with cloud metadata (RFC 3927), carriers' and Tailscale's NAT (RFC 6598);
# multicast and broadcast, which go to all pods of a node at once (RFC 5771, RFC 919).
PRIVATE_V4 = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
    *("224.0.0.0/4", "255.255.255.255/32"),
)
# Unique local (RFC 4193), link-local and multicast (RFC 4291).
PRIVATE_V6 = ("fc00::/7", "fe80::/10", "ff00::/8")
_DNS_PORTS = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]


def spec(network: Network, services: Iterable[Address]) -> Object:
    """Return the policy for every pod of the namespace: nothing in, the public internet out.

    `services` are what pods use of ours at addresses in private ranges; names are left out, since
    a policy knows addresses only.
    """
    return {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": [
            {"to": _internet(network.deny)},
            {"to": _dns(network.dns), "ports": _DNS_PORTS},
            *(_to(address) for address in (*network.allow, *_private(services))),
        ],
    }


def is_private(host: str) -> bool:
    """Tell whether a host is an address that pods can't reach unless it is allowed."""
    found = _address(host)
    ranges = PRIVATE_V4 if isinstance(found, IPv4Address) else PRIVATE_V6
    return found is not None and any(found in ip_network(one) for one in ranges)


def is_address(host: str) -> bool:
    """Tell an address from a name."""
    return _address(host) is not None


def of_url(url: str) -> Address | None:
    """Return where a URL leads, None for an empty one."""
    parts = urlsplit(url)
    if not parts.hostname:
        return None
    return Address(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))


def _internet(deny: Sequence[str]) -> list[Object]:
    blocks: list[Object] = []
    for everything, private, version in (("0.0.0.0/0", PRIVATE_V4, 4), ("::/0", PRIVATE_V6, 6)):
        more = [one for one in deny if ip_network(one).version == version]
        blocks.append({"ipBlock": {"cidr": everything, "except": [*private, *more]}})
    return blocks


def _dns(addresses: Sequence[str]) -> list[Object]:
    """Return the cluster's DNS pods, and addresses that answer instead, as NodeLocal DNS does."""
    cluster = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    return [cluster, *({"ipBlock": {"cidr": _block(one)}} for one in addresses)]


def _private(services: Iterable[Address]) -> list[Address]:
    return [one for one in services if is_private(one.host)]


def _to(address: Address) -> Object:
    return {
        "to": [{"ipBlock": {"cidr": _block(address.host)}}],
        "ports": [{"protocol": "TCP", "port": address.port}],
    }


def _block(host: str) -> str:
    return str(ip_network(host))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Read an address; one with a zone, as in fe80::1%eth0, is none that a policy could name."""
    try:
        return None if "%" in host else ip_address(host)
    except ValueError:
        return None
