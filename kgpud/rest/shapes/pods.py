"""Rentals: what is asked for, and what is shown of them."""

import re
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, Field

from kgpud.rest import quantity
from kgpud.rest.shapes.base import Answer, Body, Flag, refused
from kgpud.rest.shapes.pages import PageQuery
from store.records import Phase


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?", value):
        raise refused(
            "at most 30 lower case letters, digits and '-', with a letter or digit at both ends"
        )
    return value


def _cpu(value: str) -> str:
    cores = _amount(value, 'a text such as "2", "0.5" or "500m"')
    if not 0 < cores <= 16 or (cores * 1000).denominator != 1:  # noqa: PLR2004 - product.md
        raise refused("more than 0 and at most 16 cores, in steps of 1m")
    return value


def _memory(value: str) -> str:
    size = _amount(value, 'a text such as "16Gi" or "512Mi"')
    if not 64 << 20 <= size <= 128 << 30 or size.denominator != 1:
        raise refused("at least 64Mi and at most 128Gi")
    return value


def _amount(value: str, shape: str) -> Fraction:
    try:
        return quantity.parse(value)
    except ValueError:
        raise refused(f"must be {shape}") from None


def _image(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,499}", value):
        raise refused("must be an image reference such as ghcr.io/owner/name:tag")
    return value


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


class PodQuery(PageQuery):
    """The parameters of `GET /pods`."""

    phase: Phase | None = None
    """Only rentals in this phase."""
    active: Flag | None = None
    """True: only rentals that have not ended; false: only those that have."""


class SshAccess(Answer):
    """How to ssh in. `fingerprint` is null once the rental has ended."""

    fingerprint: str | None
    ssh_host: str
    ssh_port: int
    ssh_user: str


class NewSshAccess(SshAccess):
    """The same right after a key was pinned; `private_key` only where we minted it, and once."""

    private_key: str | None = None


class Idle(Answer):
    """The idle clock. `release_at` is null while no release is due."""

    last_activity_at: str
    idle_seconds: int
    idle_warning: bool
    release_at: str | None


class Pod(Answer):
    """A rental, running or long gone."""

    pod_id: str
    name: str
    phase: str
    ready: bool
    pending_reason: str | None
    image: str
    gpu_model: str
    gpu_count: int
    cpu: str
    memory: str
    ephemeral_storage_gib: int
    price_per_hour_credits: int
    cost_credits: int
    node: str | None
    created_at: str
    started_at: str | None
    ready_at: str | None
    ended_at: str | None
    end_reason: str | None
    idle: Idle
    ssh_access: SshAccess


class Rented(Answer):
    """`POST /pods`. `balance_after_precheck` is the balance less one hour; nothing is held."""

    pod_id: str
    gpu_model: str
    price_per_hour_credits: int
    balance_after_precheck: int
    ssh_access: NewSshAccess


class Rotated(Answer):
    """`PATCH /pods/{id}`."""

    pod_id: str
    ssh_access: NewSshAccess
