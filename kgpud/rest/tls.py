"""TLS of our own: a certificate that is read again when its files change."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from kgpud.clock import Clock
from kgpud.config import ConfigError
from kgpud.http_settings import Http

log = structlog.get_logger()

_LOOK_SECONDS = 10.0

Stamp = tuple[int, int, int]


@asynccontextmanager
async def listening(settings: Http, clock: Clock) -> AsyncIterator[ssl.SSLContext | None]:
    """Lend what a listener needs to speak TLS, None if it isn't to.

    While the block runs, new connections get the certificate that lies there now. Raises
    ConfigError for one that can't be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        yield None
        return
    pair = _Pair(settings.tls_cert, settings.tls_key)
    context = pair.context()
    async with asyncio.TaskGroup() as tasks:
        look = tasks.create_task(_follow(pair, context, clock))
        yield context
        look.cancel()


class _Pair:
    """The two files."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert, self._key = cert, key

    def stamps(self) -> tuple[Stamp, Stamp]:
        """Return what changes when the files do. Raises OSError."""
        return _stamp(self._cert), _stamp(self._key)

    def context(self) -> ssl.SSLContext:
        """Return a context that has them. Raises ConfigError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        self.load(context)
        return context

    def load(self, context: ssl.SSLContext) -> None:
        """Have a context use them from now on. Raises ConfigError; then nothing has changed."""
        try:
            # The first one may take a certificate whose key does not fit.
            for one in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
                one.load_cert_chain(self._cert, self._key, password=_no_password)
        except (OSError, ValueError) as error:
            raise ConfigError([f"http.tls_cert, http.tls_key: {error}"]) from None


async def _follow(pair: _Pair, context: ssl.SSLContext, clock: Clock) -> None:
    used = pair.stamps()
    while True:
        await clock.sleep(_LOOK_SECONDS)
        try:
            found = pair.stamps()
            if found == used:
                continue
            pair.load(context)
        except (OSError, ConfigError) as error:
            # One of the two may have been written just now, and the other not yet.
            log.error("tls_not_reloaded", error=str(error))  # noqa: TRY400 - the files', not ours
        else:
            used = found
            log.info("tls_reloaded")


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _no_password() -> str:
    """Keep OpenSSL from asking at the terminal."""
    raise ValueError("the key needs a password; keep it without one")
