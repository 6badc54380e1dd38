"""Which PUTs the folder store takes beyond their signatures. A bucket takes them all.

What an object may have is measured after the upload, alike on every store; here it is only seen to
that nobody fills the disk with uploads that never end.
"""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kgpud.clock import Clock
from kgpud.errors import Code, UserError
from kgpud.objects.plan import Limits
from kgpud.objects.signing import Grant
from kgpud.objects.telling import check_there
from store import objects
from store.db import Database
from store.objects import TransitObject


class Admission:
    """Knows what is coming in for each account."""

    def __init__(self, db: Database, clock: Clock, limits: Limits) -> None:
        self._db = db
        self._clock = clock
        self._limits = limits
        # For each account, by object and part (0: whole): who sends it, and how many bytes.
        self._coming: defaultdict[str, dict[tuple[str, int], tuple[object, int]]] = defaultdict(
            dict
        )

    async def check(self, object_id: str) -> TransitObject:
        """Return a live object. Raises why it is no more: its URLs are good for longer."""
        async with self._db.reading() as rx:
            o = await objects.get(rx, object_id)
        if o is None:
            raise UserError(Code.NOT_FOUND, "there is no such object")
        check_there(o, self._clock.now_ms())
        return o

    @asynccontextmanager
    async def admitted(self, grant: Grant, size: int) -> AsyncIterator[None]:
        """Let a PUT of so many bytes come in.

        Raises as `check`, and QUOTA_EXCEEDED where the account's uploads under way are more than
        it may have at all.
        """
        o = await self.check(grant.key)
        coming = self._coming[o.account_id]
        name = (grant.key, grant.slot.number if grant.slot is not None else 0)
        # Whoever sends the same again has given the first one up.
        others = sum(bytes_ for other, (_, bytes_) in coming.items() if other != name)
        if others and others + size > self._limits.account_bytes:
            raise UserError(
                Code.QUOTA_EXCEEDED,
                f"{others} bytes are coming in for this account already; wait until they are there",
            )
        mine = coming[name] = (object(), size)
        try:
            yield
        finally:
            if coming.get(name) is mine:
                del coming[name]
            if not coming:
                self._coming.pop(o.account_id, None)
