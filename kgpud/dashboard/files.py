"""The style sheet and scripts, under names that change with their content."""

import functools
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from importlib import resources

from aiohttp import web

from kgpud.rest import encoding

_FOLDER = resources.files("kgpud.dashboard") / "static"
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def paths() -> Iterator[tuple[str, str]]:
    """Yield each file's name and the path it is served at."""
    for file in sorted(_FOLDER.iterdir(), key=lambda file: file.name):
        yield file.name, address(file.name)


@functools.cache
def address(name: str) -> str:
    """Return the path of a file. KeyError or FileNotFoundError for one that isn't there."""
    digest = hashlib.sha256(_content(name)).hexdigest()[:12]
    stem, _dot, kind = name.rpartition(".")
    return f"/static/{stem}.{digest}.{kind}"


def serve(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler of a file, which browsers may keep for ever."""

    async def serve(request: web.Request) -> web.Response:
        response = web.Response(
            body=_content(name),
            content_type=_TYPES[name.rpartition(".")[2]],
            charset="utf-8",
            headers={
                "Cache-Control": "public, max-age=31536000, immutable",
                "X-Content-Type-Options": "nosniff",
            },
        )
        encoding.compress(request, response)
        return response

    return serve


@functools.cache
def _content(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()
