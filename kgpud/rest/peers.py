"""Where a request really comes from: what the proxies in front say is believed, nobody else."""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp import web

from kgpud.address import Network

Ip = IPv4Address | IPv6Address


class Peers:
    """Reads X-Forwarded-For and X-Forwarded-Proto where a trusted proxy sent them."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted

    def address(self, request: web.BaseRequest) -> Ip | None:
        """Return the caller's address: the last one in the chain that is no trusted proxy."""
        address = _parsed(request.remote or "")
        for before in self._forwarded(request, address):
            address = before
        return address

    def secure(self, request: web.BaseRequest) -> bool:
        """Tell whether the caller spoke TLS, with us or with the trusted proxy."""
        if request.secure:
            return True
        told = request.headers.getall("X-Forwarded-Proto", [])
        return self._trusts(_parsed(request.remote or "")) and told == ["https"]

    def _forwarded(self, request: web.BaseRequest, address: Ip | None) -> Iterator[Ip]:
        """Yield from where each proxy had the request, for as long as the proxy is trusted."""
        lines = request.headers.getall("X-Forwarded-For", [])
        for word in reversed([word for line in lines for word in line.split(",")]):
            if not self._trusts(address):
                return
            address = _parsed(word.strip())
            if address is None:
                return
            yield address

    def _trusts(self, address: Ip | None) -> bool:
        return address is not None and _within(address, self._trusted)


def source(address: Ip | None) -> str | None:
    """Return what stands for one caller: an IPv4 address, an IPv6 /64; None for this machine."""
    if address is None or address.is_loopback:
        return None
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)


def _within(address: Ip, networks: Iterable[Network]) -> bool:
    return any(address.version == net.version and address in net for net in networks)


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> Ip | None:
    with contextlib.suppress(ValueError):
        address = ip_address(text.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return mapped or address
    return None
