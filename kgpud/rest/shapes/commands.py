"""One-shot commands."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from kgpud.rest.shapes.base import Answer, Body, refused

STDIN_LIMIT = 1 << 20
COMMAND_LIMIT = 128 << 10


def _text(value: str) -> str:
    if "\0" in value:
        raise refused("must not hold a NUL byte")
    return value


def _stdin(value: str) -> str:
    if len(value.encode()) > STDIN_LIMIT:
        raise refused("at most 1 MiB; use ssh or scp for more")
    return value


def _cmd(value: list[str]) -> list[str]:
    if not value[0]:
        raise refused("the first item is the program to run")
    if sum(len(word.encode()) + 1 for word in value) > COMMAND_LIMIT:
        raise refused("at most 128 KiB in all; send more on stdin")
    return value


Text = Annotated[str, AfterValidator(_text)]


class Exec(Body):
    """`POST /pods/{id}/exec`."""

    # JSON may spell every byte of stdin in six, as \\u0001.
    body_limit: ClassVar[int] = 8 << 20

    cmd: Annotated[list[Text], Field(min_length=1, max_length=4096), AfterValidator(_cmd)]
    stdin: Annotated[str, AfterValidator(_stdin)] = ""
    timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 60


class Completed(Answer):
    """`POST /pods/{id}/exec`. Bytes that aren't UTF-8 become U+FFFD."""

    exit_code: int
    stdout: str
    stderr: str
    duration_ms: int
    truncated: bool
    timed_out: bool
