"""Where a request really comes from: what the proxies in front say is believed, nobody else."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp import web

from kgpud.address import Network

Ip = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Peer:
    """Who asks; `address` is None where a proxy told nothing that is one, `text` writes it.

    `source` is what stands for one caller: an IPv4 address, an IPv6 /64; None for this machine.
    """

    address: Ip | None
    text: str
    source: str | None


class Peers:
    """Reads X-Forwarded-For and X-Forwarded-Proto where a trusted proxy sent them."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted

    def peer(self, request: web.BaseRequest) -> Peer:
        """Return the caller: the last one in the chain that is no trusted proxy."""
        peer = _read(request.remote or "")
        if self._trusted:
            for before in self._forwarded(request, peer):
                peer = before
        return peer

    def source(self, address: str) -> str | None:
        """Return what stands for who connects from there; None for this machine and proxies."""
        peer = _read(address)
        return None if self._trusts(peer) else peer.source

    def secure(self, request: web.BaseRequest) -> bool:
        """Tell whether the caller spoke TLS, with us or with the trusted proxy."""
        if request.secure:
            return True
        if not self._trusted or not self._trusts(_read(request.remote or "")):
            return False
        return request.headers.getall("X-Forwarded-Proto", []) == ["https"]

    def _forwarded(self, request: web.BaseRequest, peer: Peer) -> Iterator[Peer]:
        """Yield from where each proxy had the request, for as long as the proxy is trusted."""
        lines = request.headers.getall("X-Forwarded-For", [])
        for word in reversed([word for line in lines for word in line.split(",")]):
            if not self._trusts(peer):
                return
            peer = _read(word.strip())
            if peer.address is None:
                return
            yield peer

    def _trusts(self, peer: Peer) -> bool:
        return peer.address is not None and _within(peer.address, self._trusted)


def _within(address: Ip, networks: Iterable[Network]) -> bool:
    return any(address.version == net.version and address in net for net in networks)


@functools.lru_cache(maxsize=4096)
def _read(text: str) -> Peer:
    address = _parsed(text)
    return Peer(address, str(address), None if address is None else _source(address))


def _parsed(text: str) -> Ip | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _source(address: Ip) -> str | None:
    if address.is_loopback:
        return None
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)
