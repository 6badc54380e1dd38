"""How the commands that run a daemon fail: in one line, whatever a person can mend."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from gateway.hostkeys import HostKeyDamaged
from kgpud.config import ConfigError
from kgpud.embedded import EmbeddedFailed
from kgpud.handover.wire import WireClosed
from kgpud.reloading import ReloadFailed
from kgpud.statefolder import StateLocked
from kgpud.tokens import SecretDamaged
from store.db import StoreUnavailable
from store.migrate import TooNew

_MENDABLE = (
    ConfigError,
    EmbeddedFailed,
    HostKeyDamaged,
    ReloadFailed,
    SecretDamaged,
    StateLocked,
    StoreUnavailable,
    TooNew,
    WireClosed,
    OSError,
)


@contextmanager
def one_line() -> Iterator[None]:
    """Turn what a person can mend into a ClickException; bugs stay loud."""
    try:
        yield
    except _MENDABLE as error:
        raise click.ClickException(_said(error)) from None
    except BaseExceptionGroup as group:
        mendable, rest = group.split(_MENDABLE)
        if mendable is None or rest is not None:
            raise
        raise click.ClickException(_said(_first(mendable))) from None


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        # Less its number, which says nothing to people.
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
