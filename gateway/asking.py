"""A session's words with the core: none of them can take for ever, or bring the session down."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")

# A core that is replaced while sessions go on is away for some seconds.
CORE_SECONDS = 60.0


class CoreAway(Exception):
    """The core did not answer, or failed."""


async def ask(what: str, question: Awaitable[T], seconds: float = CORE_SECONDS) -> T:
    """Return the core's answer. Raises CoreAway; why is in the log."""
    try:
        async with asyncio.timeout(seconds):
            return await question
    except Exception:
        log.exception("core_did_not_answer", asked=what)
        raise CoreAway from None


async def tell(what: str, message: Awaitable[None], seconds: float = CORE_SECONDS) -> None:
    """Tell the core what the session goes on without."""
    try:
        await ask(what, message, seconds)
    except CoreAway:
        return
