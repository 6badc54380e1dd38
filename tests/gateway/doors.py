"""A bastion on a port of its own, in front of rentals that are names in a table."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.admission import Limits
from gateway.bastion import Bastion
from gateway.executor import Executor
from gateway.hostkeys import HostKeys
from gateway.keys import fingerprint
from gateway.protocols import ApiServer, PodRef, Route, SessionClosed, SessionOpened

from .raw_client import RawClient, string

USERAUTH_REQUEST = bytes([50])


@dataclass
class Table:
    """Implements gateway.protocols.Core: rentals that nobody gets into, since no pod is there."""

    rentals: dict[str, str] = field(default_factory=dict)
    everybody: str | None = None
    asked: list[str] = field(default_factory=list)
    broken: bool = False
    opened_by: list[SessionOpened] = field(default_factory=list)
    closed_by: list[SessionClosed] = field(default_factory=list)

    async def resolve(self, fingerprint: str) -> Route | None:
        await asyncio.sleep(0)
        self.asked.append(fingerprint)
        if self.broken:
            raise RuntimeError("the database is away")
        rental = self.rentals.get(fingerprint, self.everybody)
        if rental is None:
            return None
        return Route(rental, 1, PodRef("kgpu", rental, "main"), "a pod")

    async def moved_on(self, fingerprint: str, route: Route) -> Route | None:
        del fingerprint, route
        return None

    async def welcome(self, rental: str) -> str:
        return rental

    async def opened(self, session: SessionOpened) -> None:
        self.opened_by.append(session)

    async def activity(self, rental: str, bytes_in: int, bytes_out: int) -> None:
        pass

    async def closed(self, session: SessionClosed) -> None:
        self.closed_by.append(session)


class Nowhere:
    async def api_server(self) -> ApiServer:
        raise NotImplementedError

    def refused(self, server: ApiServer) -> None:
        pass

    def avoid(self, _server: ApiServer) -> bool:
        return False


@dataclass(frozen=True)
class Key:
    """An ed25519 key that signs requests by hand."""

    private: Ed25519PrivateKey

    @property
    def blob(self) -> bytes:
        raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return string(b"ssh-ed25519") + string(raw)

    @property
    def name(self) -> str:
        return fingerprint(self.blob)

    def signature(self, data: bytes) -> bytes:
        return string(b"ssh-ed25519") + string(self.private.sign(data))


def make_key() -> Key:
    return Key(Ed25519PrivateKey.generate())


def asking(
    blob: bytes,
    *,
    user: bytes = b"kgpu",
    service: bytes = b"ssh-connection",
    algorithm: bytes = b"ssh-ed25519",
    signs: bool = False,
) -> bytes:
    """Return an authentication request up to its signature; a whole one if it is a probe."""
    head = USERAUTH_REQUEST + string(user) + string(service) + string(b"publickey")
    return head + bytes([signs]) + string(algorithm) + string(blob)


def signed(client: RawClient, key: Key, **fields: bytes) -> bytes:
    """Return a signed authentication request."""
    request = asking(key.blob, **fields, signs=True)
    return request + string(key.signature(string(client.session_id) + request))


@dataclass
class Door:
    port: int
    core: Table
    bastion: Bastion


@asynccontextmanager
async def door(
    folder: Path, limits: Limits | None = None, core: Table | None = None
) -> AsyncIterator[Door]:
    """Run a bastion. Without limits it has those of an exempt source: none for one address."""
    core = core or Table()
    keys = HostKeys(folder / "host_key")
    bastion = Bastion(core, Executor(Nowhere()), keys, limits or Limits())
    sock = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = sock.getsockname()[1]
    async with bastion.listening(sock) as listener:
        listener.open()
        yield Door(port, core, bastion)
