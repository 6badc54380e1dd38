"""`/docs`: the API's description as a page, to read and to try calls from.

Nothing is fetched from elsewhere: Swagger UI comes with the package `offapi`.
"""

import asyncio
import functools
import hashlib
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from kgpud.rest.encoding import EXECUTOR_SIZE, compress
from kgpud.rest.serving import Handler

_OURS = Path(__file__).parent / "pages"
# Found, not imported: that would read all its files at once.
_SWAGGER = Path(str(find_spec("offapi").origin)).parent  # type: ignore[union-attr]
_FILES = {
    "/docs": (_OURS / "docs.html", "text/html"),
    "/docs/start.js": (_OURS / "start.js", "text/javascript"),
    "/docs/swagger.js": (_SWAGGER / "swagger_bundle.js", "text/javascript"),
    "/docs/swagger.css": (_SWAGGER / "swagger_style.css", "text/css"),
}


def add_routes(app: web.Application, api_base: str) -> None:
    """Serve the page and its files; it may call the API at `api_base`, and nothing else."""
    base = urlsplit(api_base)
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:;"
        f" connect-src 'self' {base.scheme}://{base.netloc};"
        " form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    for path in _FILES:
        app.router.add_get(path, _serve(path, policy))


def _serve(path: str, policy: str) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        body, version = await asyncio.to_thread(_read, path)
        response = web.Response(
            body=body,
            content_type=_FILES[path][1],
            charset="utf-8",
            zlib_executor_size=EXECUTOR_SIZE,
        )
        if any(tag.value in (version, "*") for tag in request.if_none_match or ()):
            response = web.Response(status=304)
        else:
            compress(request, response)
        response.headers["Content-Security-Policy"] = policy
        response.headers["Referrer-Policy"] = "no-referrer"
        # The page fits the files of its own version alone: they are asked for each time.
        response.headers["Cache-Control"] = "no-cache"
        response.headers["ETag"] = f'W/"{version}"'
        return response

    return serve


@functools.cache
def _read(path: str) -> tuple[bytes, str]:
    """Return a file's content, and what changes with it."""
    content = _FILES[path][0].read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]
