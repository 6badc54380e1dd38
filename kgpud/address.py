"""Where something listens or is reached."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import BeforeValidator


@dataclass(frozen=True)
class Address:
    """A host (name or IP, without brackets) and a TCP port; port 0 listens on any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``HOST:PORT`` or ``[IPV6]:PORT``. Raises ValueError for anything else."""
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/@]+)):([0-9]{1,5})", text)
        if not match or int(match[3]) > 65535:  # noqa: PLR2004 - the highest TCP port
            raise ValueError("must be HOST:PORT, for example 127.0.0.1:8080")
        return cls(match[1] or match[2], int(match[3]))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def reachable(self) -> "Address":
        """Return the same address as a client on this machine dials it, never 0.0.0.0 or ::."""
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound
        return Address(loopback.get(self.host, self.host), self.port)


def _address(value: object) -> object:
    return Address.parse(value) if isinstance(value, str) else value


def _network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError("must be a network such as 192.0.2.0/24 or 2001:db8::/32") from None


Listen = Annotated[Address, BeforeValidator(_address)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
