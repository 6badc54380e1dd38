"""What users send: the bodies, with their defaults and limits.

Strict: ``"2"`` is no integer and ``true`` is none either. A field that is null counts as left out.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from kgpud.rest import quantity

STDIN_LIMIT = 1 << 20
COMMAND_LIMIT = 128 << 10


class Body(BaseModel):
    """A JSON object: nothing but the fields named here."""

    # `hide_input_in_errors`: a pasted private key must not end up in an exception's text.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    #: The most bytes of JSON that are read.
    body_limit: ClassVar[int] = 1 << 20

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, data: Any) -> Any:  # noqa: ANN401 - whatever JSON held
        if not isinstance(data, Mapping):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}


def _refuse(message: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{message}", {"message": message})


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?", value):
        raise _refuse(
            "at most 30 lower case letters, digits and '-', with a letter or digit at both ends"
        )
    return value


def _cpu(value: str) -> str:
    cores = _amount(value, 'a text such as "2", "0.5" or "500m"')
    if not 0 < cores <= 16 or (cores * 1000).denominator != 1:  # noqa: PLR2004 - product.md
        raise _refuse("more than 0 and at most 16 cores, in steps of 1m")
    return value


def _memory(value: str) -> str:
    size = _amount(value, 'a text such as "16Gi" or "512Mi"')
    if not 64 << 20 <= size <= 128 << 30 or size.denominator != 1:
        raise _refuse("at least 64Mi and at most 128Gi")
    return value


def _amount(value: str, shape: str) -> Fraction:
    try:
        return quantity.parse(value)
    except ValueError:
        raise _refuse(f"must be {shape}") from None


def _image(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,499}", value):
        raise _refuse("must be an image reference such as ghcr.io/owner/name:tag")
    return value


def _text(value: str) -> str:
    if "\0" in value:
        raise _refuse("must not hold a NUL byte")
    return value


def _stdin(value: str) -> str:
    if len(value.encode()) > STDIN_LIMIT:
        raise _refuse("at most 1 MiB; use ssh or scp for more")
    return value


def _cmd(value: list[str]) -> list[str]:
    if not value[0]:
        raise _refuse("the first item is the program to run")
    if sum(len(word.encode()) + 1 for word in value) > COMMAND_LIMIT:
        raise _refuse("at most 128 KiB in all; send more on stdin")
    return value


Text = Annotated[str, AfterValidator(_text)]
PublicKeyLine = Annotated[str, Field(max_length=16 << 10)]


class Rent(Body):
    """`POST /pods`."""

    name: Annotated[str, AfterValidator(_name)] = "rent"
    image: Annotated[str, AfterValidator(_image)] | None = None
    gpu_model: Annotated[str, Field(min_length=1, max_length=63)] = "rtx4090"
    gpu_count: Annotated[int, Field(ge=0, le=4)] = 1
    cpu: Annotated[str, AfterValidator(_cpu)] = "2"
    memory: Annotated[str, AfterValidator(_memory)] = "16Gi"
    ephemeral_storage_gib: Annotated[int, Field(ge=1, le=2000)] = 100
    # Names, reserved prefixes and size are the rental service's to judge.
    env: dict[str, str] = Field(default_factory=dict)
    ssh_pubkey: PublicKeyLine | None = None


class Rotate(Body):
    """`PATCH /pods/{id}`."""

    ssh_pubkey: PublicKeyLine | None = None


class Exec(Body):
    """`POST /pods/{id}/exec`."""

    # JSON may spell every byte of stdin in six, as \\u0001.
    body_limit: ClassVar[int] = 8 << 20

    cmd: Annotated[list[Text], Field(min_length=1, max_length=4096), AfterValidator(_cmd)]
    stdin: Annotated[str, AfterValidator(_stdin)] = ""
    timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 60
