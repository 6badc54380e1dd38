"""Paths in a configuration: absolute, since nobody knows where a daemon was started."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator


def _path(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value.startswith("/"):
        raise ValueError("must be an absolute path")
    return Path(value)


def _path_or_none(value: object) -> object:
    return None if value == "" else _path(value)


AbsolutePath = Annotated[Path, BeforeValidator(_path)]
OptionalPath = Annotated[Path | None, BeforeValidator(_path_or_none)]
