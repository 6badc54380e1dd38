"""The bench's server as a whole daemon meets it: what a command's last word asks for is played.

``ssh pod 'play restart/containerd_restart_writer.v5 raw'`` plays a recording, ``ssh pod 'play
no_end'`` one of the lies that are made up.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.gateway import fake_api
from tests.gateway.fake_api import Call

from .made_up import TABLE
from .recording import Recording
from .replay import play

_WORD = "play "


def means(word: str) -> bool:
    """Say whether a command's last word is for this server."""
    return word.startswith(_WORD)


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serve while the block runs; yield the port."""
    async with fake_api.serving(_serve) as api:
        yield api.port


async def _serve(call: Call) -> None:
    wanted, _, how = call.command[-1].removeprefix(_WORD).partition(" ")
    with suppress(ConnectionError):  # what its user saw of that is what counts
        if wanted in TABLE:
            await TABLE[wanted].lie(call)
        else:
            await play(call, Recording(wanted), how)
