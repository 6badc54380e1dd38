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
    """A command to run to its end."""

    # JSON may spell every byte of stdin in six, as \\u0001.
    body_limit: ClassVar[int] = 8 << 20

    cmd: Annotated[list[Text], Field(min_length=1, max_length=4096), AfterValidator(_cmd)]
    """The program and its arguments, such as `["bash", "-c", "ls /workspace"]`."""
    stdin: Annotated[str, AfterValidator(_stdin)] = ""
    """What the command reads, at most 1 MiB."""
    timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 60
    """When it is killed; what it wrote until then is returned."""

    examples = ({"cmd": ["nvidia-smi"]},)


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
