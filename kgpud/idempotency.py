"""Requests that are done once, however often they are sent: those with an Idempotency-Key.

A client that lost the answer sends the same request again, under the same key, and is told what
it was told before (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from kgpud.clock import Clock
from kgpud.errors import Code, UserError
from store import idempotency
from store.db import Connection, Database
from store.idempotency import Kept

HEADER = "Idempotency-Key"
KEPT_MS = 24 * 3_600_000


@dataclass
class Once:
    """One request. `answer` is what was answered to it before, None if it is to be done now."""

    account_id: str
    key: str | None
    request: bytes
    now: int
    answer: str | None = None
    kept: bool = False

    async def keep(self, tx: Connection, answer: str) -> None:
        """Remember the answer, without its secrets, in the very transaction that does the work.

        From then on the request is done, whether or not its caller ever hears of it: a crash
        between the two finds both or neither.
        """
        if self.key is not None:
            await idempotency.forget(tx, self.now - KEPT_MS)
            await idempotency.keep(
                tx, self.account_id, self.key, Kept(self.request, answer), self.now
            )
            self.kept = True


class Idempotency:
    """What was done under which key, for 24 hours by our clock."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._in_flight: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def once(self, account_id: str, key: str | None, request: bytes) -> AsyncIterator[Once]:
        """Do a request in the block, or learn from `answer` that it was done.

        `request` is a hash of the operation and its body. Without a key it is done whatever was
        done before. A block that raises UserError was not done, whatever it had kept: the next try
        begins anew. Raises IDEMPOTENCY_IN_FLIGHT and IDEMPOTENCY_MISMATCH.
        """
        now = self._clock.now_ms()
        if key is None:
            yield Once(account_id, None, request, now)
            return
        mine = (account_id, key)
        if mine in self._in_flight:
            raise UserError(
                Code.IDEMPOTENCY_IN_FLIGHT, "the first request with this key is still under way"
            )
        self._in_flight.add(mine)
        try:
            once = Once(account_id, key, request, now, await self._answered(mine, request, now))
            try:
                yield once
            except UserError:
                await self._take_back(once)
                raise
        finally:
            self._in_flight.discard(mine)

    async def _answered(self, mine: tuple[str, str], request: bytes, now: int) -> str | None:
        async with self._db.reading() as rx:
            kept = await idempotency.find(rx, *mine, now - KEPT_MS)
        if kept is None:
            return None
        if kept.request != request:
            raise UserError(
                Code.IDEMPOTENCY_MISMATCH,
                "this key was sent with another request before; take a fresh one",
                field=HEADER,
            )
        return kept.answer

    async def _take_back(self, once: Once) -> None:
        if once.kept and once.key is not None:
            async with self._db.transaction() as tx:
                await idempotency.drop(tx, once.account_id, once.key)
