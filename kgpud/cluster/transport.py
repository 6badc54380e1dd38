"""Requests to the API server: credentials, time limits, waiting when asked to, typed refusals."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import aiohttp

from gateway.protocols import ApiServer
from kgpud.cluster import answers
from kgpud.cluster.errors import Refused, Unreachable
from kgpud.cluster.verdicts import BUSY, UNREACHED, refusal, unreachable

Object = dict[str, Any]

# To reach an address, TLS included. Waiting for a connection of the pool's is no part of it.
_REACH_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
# The server ends each watch after this; a connection that died silently is noticed a little later.
WATCH_SECONDS = 60
# etcd's limit for one object is 1.5 MiB, and a watch event is one line.
_LONGEST_LINE = 1 << 21
# Beside the watches and the execs, which have connections of their own.
_CONNECTIONS = 32
# Logs that are read at the same time.
_FOLLOWED = 256
# How long a request waits in all for a server that is busy, and how long where it says nothing.
_PATIENCE_SECONDS = 8.0
_RETRY_SECONDS = 1.0
_UNAUTHORIZED = 401


class Credentials(Protocol):
    """Where the API server is and as whom to ask: `kgpud.cluster.access`."""

    async def api_server(self) -> ApiServer:
        """Return the current address and credentials."""
        ...

    def forget(self, server: ApiServer) -> None:
        """Take note that these credentials were refused."""
        ...

    def avoid(self, server: ApiServer) -> bool:
        """Take note that an address can't be reached; tell whether there is another one."""
        ...


@dataclass(frozen=True)
class Answer:
    """What came back: a JSON object, and the headers beside it."""

    document: Object
    headers: Mapping[str, str]


class Transport:
    """The way to one cluster. Every method raises a ClusterError and nothing else."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        watching: aiohttp.ClientSession,
        following: aiohttp.ClientSession,
        credentials: Credentials,
    ) -> None:
        self._session = session
        self._watching = watching
        self._following = following
        self._credentials = credentials

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        credentials: Credentials,
        *,
        reach_seconds: float = _REACH_SECONDS,
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> AsyncIterator["Transport"]:
        """Open the connections' pools. Proxies in the environment are not used."""
        bounds = partial(aiohttp.ClientTimeout, sock_connect=reach_seconds)
        async with (
            aiohttp.ClientSession(
                trust_env=False,
                timeout=bounds(total=answer_seconds),
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            ) as session,
            # A burst of requests must not keep a watch from beginning again.
            aiohttp.ClientSession(
                trust_env=False,
                timeout=bounds(total=None, sock_read=WATCH_SECONDS + 15),
                read_bufsize=_LONGEST_LINE,
            ) as watching,
            # A container may write nothing for hours.
            aiohttp.ClientSession(
                trust_env=False,
                timeout=bounds(total=None, connect=answer_seconds),
                connector=aiohttp.TCPConnector(limit=_FOLLOWED),
            ) as following,
        ):
            yield cls(session, watching, following, credentials)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
    ) -> Answer:
        """Make a request; wait and ask again where the server is too busy to have looked at it."""
        left = _PATIENCE_SECONDS
        while True:
            try:
                return await self._fresh(method, path, query or {}, body)
            except Unreachable as error:
                wait = error.retry_after or _RETRY_SECONDS
                if error.status != BUSY or wait > left:
                    raise
            left -= wait
            await asyncio.sleep(wait)

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """Yield an answer line by line, for as long as one comes every 75 seconds."""
        server = await self._credentials.api_server()
        try:
            async with self._watching.get(
                server.url + path, params=query, headers=server.headers, **_way(server)
            ) as response:
                await _check(response)
                async for line in response.content:
                    yield line
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self._suspect(server, error)
            raise unreachable(error, maybe_done=False) from error

    @asynccontextmanager
    async def reading(
        self, path: str, query: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Lend an answer's bytes as they come, however long none comes, while the block runs."""
        server = await self._credentials.api_server()
        try:
            async with self._following.get(
                server.url + path, params=query, headers=server.headers, **_way(server)
            ) as response:
                await _check(response)
                yield response.content.iter_any()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._suspect(server, error)
            raise unreachable(error, maybe_done=False) from error

    def _suspect(self, server: ApiServer, error: Exception) -> bool:
        """Take another address from now on where this one is away or silent; tell if there is."""
        silent = isinstance(error, (*UNREACHED, TimeoutError))
        return silent and self._credentials.avoid(server)

    async def _fresh(
        self, method: str, path: str, query: Mapping[str, str], body: Object | None
    ) -> Answer:
        """Try again with credentials read anew where these were refused."""
        used = await self._credentials.api_server()
        try:
            return await self._anywhere(method, path, query, body)
        except Refused as error:
            if error.status != _UNAUTHORIZED:
                raise
        # They may have been rotated under us.
        self._credentials.forget(used)
        return await self._anywhere(method, path, query, body)

    async def _anywhere(
        self, method: str, path: str, query: Mapping[str, str], body: Object | None
    ) -> Answer:
        """Try the other addresses where one can't be reached: it has seen nothing of it yet."""
        tried: set[str] = set()
        while True:
            server = await self._credentials.api_server()
            try:
                return await self._attempt(server, method, path, query, body)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                unseen = isinstance(error, UNREACHED)
                if not self._suspect(server, error) or not unseen or server.url in tried:
                    maybe_done = not unseen and method != "GET"
                    raise unreachable(error, maybe_done=maybe_done) from error
            tried.add(server.url)

    async def _attempt(
        self,
        server: ApiServer,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None,
    ) -> Answer:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        async with self._session.request(
            method,
            server.url + path,
            params=query,
            data=None if body is None else json.dumps(body).encode(),
            headers={**server.headers, "Content-Type": kind, "Accept": "application/json"},
            **_way(server),
        ) as response:
            await _check(response)
            return Answer(answers.document(await response.read()), response.headers)


def _way(server: ApiServer) -> dict[str, Any]:
    return {
        "ssl": server.ssl if server.ssl is not None else True,
        "proxy": server.proxy,
        "server_hostname": server.server_name,
    }


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:  # noqa: PLR2004 - HTTP
        after = response.headers.get("Retry-After", "")
        raise refusal(response.status, await response.read(), _seconds(after))


def _seconds(retry_after: str) -> float:
    """Read Retry-After as API servers write it, in seconds; 0.0 where it says nothing."""
    return float(retry_after) if retry_after.isdecimal() and len(retry_after) < 6 else 0.0  # noqa: PLR2004
