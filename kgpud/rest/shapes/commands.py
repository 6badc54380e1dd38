"""One-shot commands."""

import base64
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

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


def _base64(value: str) -> str:
    try:
        given = base64.b64decode(value, validate=True)
    except ValueError:
        raise refused("must be base64") from None
    if len(given) > STDIN_LIMIT:
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
    """A command to run to its end."""

    # JSON may spell every byte of stdin in six, as \\u0001, those of its base64 too.
    body_limit: ClassVar[int] = 9 << 20

    cmd: Annotated[list[Text], Field(min_length=1, max_length=4096), AfterValidator(_cmd)]
    """The program and its arguments, such as `["bash", "-c", "ls /workspace"]`."""
    stdin: Annotated[str, AfterValidator(_stdin)] = ""
    """What the command reads, at most 1 MiB."""
    stdin_base64: Annotated[str, AfterValidator(_base64)] = ""
    """The same for bytes that are no text, in base64 (RFC 4648, section 4); give one or the other.
    """
    timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 60
    """When it is killed; what it wrote until then is returned."""
    output_base64: bool = False
    """Return the output's bytes as well, in base64."""

    examples = ({"cmd": ["nvidia-smi"]},)

    @model_validator(mode="after")
    def _one_stdin(self) -> Self:
        if self.stdin and self.stdin_base64:
            raise refused("give stdin or stdin_base64, not both")
        return self

    @property
    def input(self) -> bytes:
        """What the command reads."""
        return self.stdin.encode() or base64.b64decode(self.stdin_base64)


class Completed(Answer):
    """What a command left."""

    exit_code: int
    """The command's own; 124 if it was killed for its time."""
    stdout: str
    """Bytes that aren't UTF-8 become U+FFFD."""
    stderr: str
    duration_ms: int
    truncated: bool
    """True: it wrote more than 1 MiB, and the rest is missing."""
    timed_out: bool
    stdout_base64: str | None = None
    """What stdout's bytes were, if that was asked for."""
    stderr_base64: str | None = None

    examples = (
        {
            "exit_code": 0,
            "stdout": "...",
            "stderr": "",
            "duration_ms": 1240,
            "truncated": False,
            "timed_out": False,
        },
    )
