"""Transit objects as users see them: asked for, found, finished, deleted."""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from kgpud.clock import Clock
from kgpud.errors import Code, UserError
from kgpud.objects.erasing import Eraser
from kgpud.objects.looking import Looking
from kgpud.objects.plan import Limits, Wish, admit, draft
from kgpud.objects.side_by_side import side_by_side
from kgpud.objects.stores import GET_SECONDS, ObjectStore
from kgpud.objects.telling import check_there, told
from kgpud.objects.ticket import Ticket, window
from kgpud.objects.uploads import Uploads
from store import accounts, objects
from store.db import Connection, Database
from store.objects import ObjectEnd, TransitObject

log = structlog.get_logger()

Keep = Callable[[Connection, str], Awaitable[None]]


class Objects:
    """The objects of all accounts. Methods raise UserError where they, or the store, say no."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        store: ObjectStore,
        limits: Limits,
        uploads: Uploads,
        looking: Looking,
        eraser: Eraser,
    ) -> None:
        self._db = db
        self._clock = clock
        self._store = store
        self._uploads = uploads
        self._looking = looking
        self._eraser = eraser
        self.limits = limits

    async def create(self, account_id: str, wish: Wish, keep: Keep | None = None) -> Ticket:
        """Reserve room for an object and return where to PUT it.

        `keep` is told the new id in the transaction that makes it. Raises OBJECT_TOO_LARGE,
        QUOTA_EXCEEDED, OBJECT_STORE_FULL, OBJECT_STORE_FAILED.
        """
        o = draft(account_id, wish, self.limits, self._clock.now_ms())
        with told():
            # What is not declared is reserved in the account's books only: most of it never comes.
            await self._store.check_room(wish.size or 0)
        await self._reserve(o, keep)
        log.info("object.created", object=o.object_id, account=account_id, size=wish.size)
        try:
            with told():
                return await self._uploads.begin(o)
        except UserError:
            async with self._db.transaction() as tx:
                await objects.remove(tx, o.object_id)
            raise

    async def created(self, account_id: str, object_id: str) -> Ticket:
        """Return a fresh ticket of an object that was asked for before.

        Raises as `get`.
        """
        o = await self._there(account_id, object_id)
        with told():
            if o.etag is None and o.part_bytes is None:
                return await self._uploads.begin(o)
            return await self._uploads.go_on(o)

    async def list(
        self, account_id: str, before: tuple[int, str] | None, limit: int
    ) -> Sequence[TransitObject]:
        """Return a page of the account's objects, newest first, as they are now."""
        async with self._db.reading() as rx:
            page = await objects.of_account(rx, account_id, before, limit)
        now = self._clock.now_ms()
        with told():
            await side_by_side(self._looking.look, [o for o in page if o.state(now) == "pending"])
        async with self._db.reading() as rx:
            return await objects.of_account(rx, account_id, before, limit)

    async def get(self, account_id: str, object_id: str) -> Ticket:
        """Find out what became of an object; return where to fetch it, or what is still to come.

        Raises NOT_FOUND, OBJECT_EXPIRED, OBJECT_DELETED, the reason why it had to be deleted
        (OBJECT_TOO_LARGE, SIZE_MISMATCH, QUOTA_EXCEEDED, CHECKSUM_MISMATCH), OBJECT_STORE_FAILED.
        """
        o = await self._there(account_id, object_id)
        with told():
            o = await self._looking.look_and_wait(o)
            check_there(o, self._clock.now_ms())
            if o.ready_at is None:
                return await self._uploads.go_on(o)
            seconds, until = window(o, GET_SECONDS, self._clock.now_ms())
            return Ticket(o, until, get_url=await self._store.get_url(object_id, seconds))

    async def complete(self, account_id: str, object_id: str) -> Ticket:
        """Make an object of its parts, once all are there; one that is ready stays as it is.

        Raises as `get`, and UPLOAD_INCOMPLETE.
        """
        await self._there(account_id, object_id)
        async with self._uploads.finishing(object_id):
            o = await self._there(account_id, object_id)
            if o.etag is None and o.upload_id is not None:
                with told():
                    await self._uploads.finish(o, o.upload_id)
            ticket = await self.get(account_id, object_id)
        if ticket.object.etag is None:
            raise UserError(Code.UPLOAD_INCOMPLETE, "nothing whole was uploaded yet")
        return ticket

    async def delete(self, account_id: str, object_id: str) -> TransitObject:
        """Delete an object; one that is no more stays as it ended.

        It is gone from the store when this returns. Raises NOT_FOUND, OBJECT_STORE_FAILED.
        """
        o = await self._owned(account_id, object_id)
        now = self._clock.now_ms()
        reason: ObjectEnd = "expired" if o.state(now) == "expired" else "deleted"
        async with self._db.transaction() as tx:
            await objects.end(tx, [object_id], now, reason)
        o = await self._owned(account_id, object_id)
        if o.gone_at is None:
            with told():
                await self._eraser.erase(o)
        return o

    async def purge(self, account_id: str) -> None:
        """Take the objects that ended with a deleted account out of the store, at once.

        What the store does not let go of is swept later.
        """
        async with self._db.reading() as rx:
            ended = [o for o in await objects.not_gone(rx) if o.account_id == account_id]
        await side_by_side(self._eraser.try_erase, ended)

    async def _reserve(self, o: TransitObject, keep: Keep | None) -> None:
        async with self._db.transaction() as tx:
            account = await accounts.find(tx, o.account_id)
            if account is None or account.status != "approved":
                # Since the call began.
                raise UserError(Code.ACCOUNT_SUSPENDED, "this account may not keep objects")
            admit(o, await objects.held(tx, o.account_id, o.created_at), self.limits)
            await objects.insert(tx, o)
            if keep is not None:
                await keep(tx, o.object_id)

    async def _there(self, account_id: str, object_id: str) -> TransitObject:
        o = await self._owned(account_id, object_id)
        check_there(o, self._clock.now_ms())
        return o

    async def _owned(self, account_id: str, object_id: str) -> TransitObject:
        async with self._db.reading() as rx:
            return await _owned(rx, account_id, object_id)


async def _owned(conn: Connection, account_id: str, object_id: str) -> TransitObject:
    o = await objects.get(conn, object_id)
    if o is None or o.account_id != account_id:
        raise UserError(Code.NOT_FOUND, "there is no such object")
    return o
