"""The messages of `gateway.protocols.Core` as JSON, and back.

The two ends may be of different versions: a field that the reader doesn't know is passed over, and
one that is added must have a default.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from gateway.protocols import Core, PodRef, Route, SessionClosed, SessionOpened

Json = dict[str, Any]
T = TypeVar("T", PodRef, Route, SessionClosed, SessionOpened)

# Who asked may be gone by then; it asks again if not.
MOVED_ON_SECONDS = 10.0


def route(value: Mapping[str, Any] | None) -> Route | None:
    """Read a route."""
    return None if value is None else _route(value)


async def answered(core: Core, name: str, given: Json) -> Json:
    """Ask a core what a call asks; return the answer's fields. Raises ValueError, KeyError.

    ``again`` stands for a route that has not moved on yet.
    """
    match name:
        case "resolve":
            return {"value": _plain(await core.resolve(given["fingerprint"]))}
        case "moved_on":
            return await _moved_on(core, given["fingerprint"], _route(given["route"]))
        case "welcome":
            return {"value": await core.welcome(given["rental"])}
        case "opened":
            await core.opened(_read(SessionOpened, given["session"]))
        case "activity":
            await core.activity(given["rental"], given["bytes_in"], given["bytes_out"])
        case "closed":
            await core.closed(_read(SessionClosed, given["session"]))
        case _:
            raise ValueError(f"an unknown call: {name}")
    return {"value": None}


async def _moved_on(core: Core, fingerprint: str, known: Route) -> Json:
    try:
        async with asyncio.timeout(MOVED_ON_SECONDS):
            return {"value": _plain(await core.moved_on(fingerprint, known))}
    except TimeoutError:
        return {"value": None, "again": True}


def _route(value: Mapping[str, Any]) -> Route:
    return _read(Route, {**value, "pod": _read(PodRef, value["pod"])})


def _read(kind: type[T], value: Mapping[str, Any]) -> T:
    known = {field.name for field in fields(kind)}
    return kind(**{name: given for name, given in value.items() if name in known})


def _plain(found: Route | None) -> Json | None:
    return None if found is None else asdict(found)
