"""List and watch for ever: a list, then every change to it, then again whenever that breaks."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, cast

import structlog
from typing_extensions import TypeVar

from kgpud.clock import Clock
from kgpud.cluster.client import Event, Listing, Object
from kgpud.cluster.errors import ClusterError, Expired

log = structlog.get_logger()

_Item = TypeVar("_Item", default=Object)

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 5.0
# What a server that is overloaded may ask for.
_LONGEST_WAIT = 60.0
# Watches are believed, but not for ever: a missed event is mended by the next list.
_LIST_AGAIN_MS = 300_000
# What breaks sooner than this is not worth trying again at once. Longer than a connection attempt
# lasts, so that a cluster that is away is not asked without a pause.
_WORTH_MS = 20_000


@dataclass(frozen=True)
class Source(Generic[_Item]):
    """One kind of object: how to list and watch it, and whom to tell.

    `listed` gets a whole list and when it was asked for, by the clock that nobody sets; `changed`
    each event after it; `lost` that the list could not be had.
    """

    kind: str
    fetch: Callable[[], Awaitable[Listing[_Item]]]
    watch: Callable[[str], AsyncIterator[Event]]
    listed: Callable[[Listing[_Item], int], Awaitable[None]]
    changed: Callable[[Event], Awaitable[None]]
    lost: Callable[[str], None]


async def follow(source: Source[_Item], clock: Clock) -> None:
    """Never returns. A cluster that can't be reached is asked again after 0.2 to 5 seconds.

    The log has a line when it is lost, or for another reason, and one when it is back: none every
    five seconds.
    """
    delay, lost = 0.0, ""
    while True:
        began, wait = clock.moment().passed, 0.0
        try:
            listing = await _fetch(source)
            await source.listed(listing, began)
            if lost:
                log.info("cluster.back", kind=source.kind)
                lost = ""
            await _watch(source, clock, listing.version)
        except Expired:
            log.info("cluster.watch_expired", kind=source.kind)
        except ClusterError as error:
            if str(error) != lost:
                lost = str(error)
                log.warning("cluster.lost", kind=source.kind, error=lost)
            wait = min(error.retry_after, _LONGEST_WAIT)
        if clock.moment().passed - began >= _WORTH_MS and not wait:
            # It held for a while: the first attempt after that is made at once.
            delay = 0.0
            continue
        await clock.sleep(max(delay, wait))
        delay = min(max(_FIRST_DELAY, delay * 2), _LONGEST_DELAY)


async def _fetch(source: Source[_Item]) -> Listing[_Item]:
    try:
        return await source.fetch()
    except ClusterError:
        source.lost(source.kind)
        raise


async def _watch(source: Source[_Item], clock: Clock, version: str) -> None:
    """Watch until it is time to list again, or until a watch ends sooner than it should."""
    listed = clock.moment().passed
    while clock.moment().passed - listed < _LIST_AGAIN_MS:
        opened = clock.moment().passed
        events = cast("AsyncGenerator[Event, None]", source.watch(version))
        async with aclosing(events):
            async for event in events:
                version = event.version
                if event.kind != "BOOKMARK":
                    await source.changed(event)
        if clock.moment().passed - opened < _WORTH_MS:
            return
