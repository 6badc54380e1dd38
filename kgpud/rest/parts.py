"""Counts the parts of a JSON text before it is parsed.

Parsing keeps the event loop to itself, and how long depends on the number of parts far more than
on their length: a megabyte is 1 ms as one text, and 90 ms as keys of a few letters.
"""

import asyncio
import re

from kgpud.errors import Code, UserError

# What is shorter can't have enough of them.
_SHORT = 64 << 10
_MOST_TEXTS = 10_000
_MOST_AROUND = 256 << 10
_SLICE = 128 << 10
_TEXTS_A_TURN = 1000
_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


async def check(data: bytes) -> None:
    """Raise BODY_TOO_LARGE for a text with too many parts. Nobody waits for it for long."""
    if len(data) <= _SHORT:
        return
    texts = around = at = 0
    while at < len(data):
        begin = data.find(b'"', at)
        around += (len(data) if begin < 0 else begin) - at
        if around > _MOST_AROUND or texts > _MOST_TEXTS:
            raise UserError(
                Code.BODY_TOO_LARGE, "the body has too many parts for its size; send fewer"
            )
        if begin < 0:
            return
        at = await _end(data, begin + 1)
        texts += 1
        if texts % _TEXTS_A_TURN == 0:
            await asyncio.sleep(0)


async def _end(data: bytes, at: int) -> int:
    """Return where what follows a text begins; `at` is behind its opening quote."""
    while True:
        found = _INSIDE.match(data, at, at + _SLICE)
        assert found is not None
        reached = found.end()
        if reached >= len(data) or data[reached] == ord('"'):
            return reached + 1
        if reached == at:
            # A backslash with nothing behind it: the parser will say so.
            return len(data)
        at = reached
        await asyncio.sleep(0)
