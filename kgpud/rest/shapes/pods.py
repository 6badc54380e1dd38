"""Rentals: what is asked for, and what is shown of them."""

import re
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from kgpud.rest import quantity
from kgpud.rest.shapes.base import Answer, Body, Flag, Time, refused
from kgpud.rest.shapes.menu import Stale
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


def _matching(pattern: str) -> WithJsonSchema:
    """Describe what a validator takes, as far as a pattern can say it."""
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


Name = Annotated[str, AfterValidator(_name), _matching("[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")]
Image = Annotated[str, AfterValidator(_image), _matching("[A-Za-z0-9][A-Za-z0-9._/:@-]{0,499}")]
_QUANTITY = _matching(r"[0-9]{1,18}(\.[0-9]{1,9})?(m|[kMGT]|[KMGT]i)?")
PublicKeyLine = Annotated[str, Field(max_length=16 << 10)]

_PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJVvZ8mP9kbNYZCwPRVdJVtcC1cgQ8AA6bB4hVYOhUCa ada"
_POD_ID = "gpu-rent-1779745883-ab12cd"
_SSH = {"ssh_host": "ssh.kgpu.net", "ssh_port": 2222, "ssh_user": "kgpu"}
_FINGERPRINT = {"fingerprint": "SHA256:abc123..."}
_MINTED = {
    "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n...\n",
    **_FINGERPRINT,
    **_SSH,
}


class Rent(Body):
    """What to rent. Every field has a default."""

    name: Name = "rent"
    """A label for people; it becomes part of the id."""
    image: Image | None = None
    """A container image; left out, the preloaded default, `kgpu-pytorch:latest`."""
    gpu_model: Annotated[str, Field(min_length=1, max_length=63)] = "rtx4090"
    """A class of the menu, `GET /gpu-models`."""
    gpu_count: Annotated[int, Field(ge=0, le=4)] = 1
    """How many GPUs. 0 is a pod without any, billed as if it had one."""
    cpu: Annotated[str, AfterValidator(_cpu), _QUANTITY] = "2"
    """CPU cores, at most 16, as `2`, `0.5` or `500m`."""
    memory: Annotated[str, AfterValidator(_memory), _QUANTITY] = "16Gi"
    """Memory, from 64Mi to 128Gi."""
    ephemeral_storage_gib: Annotated[int, Field(ge=1, le=2000)] = 100
    """The disk, in GiB. It is gone with the pod."""
    # Names, reserved prefixes and size are the rental service's to judge.
    env: dict[str, str] = Field(default_factory=dict)
    """Up to 1,000 environment variables of 64 KiB in all, none in `NVIDIA_`, `LD_` or `KGPU_`."""
    ssh_pubkey: PublicKeyLine | None = None
    """Your OpenSSH public key, one line; left out, a key pair is made for you."""

    # First without a key: whoever just tries it would pin one that is not theirs.
    examples = ({"gpu_model": "rtx4090"}, {"gpu_model": "rtx4090", "ssh_pubkey": _PUBLIC_KEY})


class Rotate(Body):
    """The key to pin instead. An empty body will do."""

    may_be_empty = True

    ssh_pubkey: PublicKeyLine | None = None
    """Your OpenSSH public key, one line; left out, a key pair is made for you."""

    examples = ({}, {"ssh_pubkey": _PUBLIC_KEY})


class PodQuery(PageQuery):
    """The parameters of a list of rentals."""

    phase: Phase | None = None
    """Only rentals in this phase."""
    active: Flag | None = None
    """True: only rentals that have not ended; false: only those that have."""


class SshAccess(Answer):
    """How to ssh in."""

    fingerprint: str | None
    """Of the pinned key; null once the rental has ended."""
    ssh_host: str
    ssh_port: int
    ssh_user: str


class NewSshAccess(SshAccess):
    """How to ssh in with the key that was just pinned."""

    private_key: str | None = None
    """Only where we made the key pair, and only this once: we don't keep it."""


class Idle(Answer):
    """The idle clock."""

    last_activity_at: Time
    idle_seconds: int
    idle_warning: bool
    release_at: Time | None
    """When the rental ends if it stays idle; null unless it is running."""


class Pod(Answer):
    """A rental, running or long gone."""

    pod_id: str
    name: str
    phase: Phase
    ready: bool
    """True: ssh and exec work."""
    pending_reason: str | None
    """What a Pending pod waits for, such as `starting` or `ImagePullBackOff: …`."""
    image: str
    gpu_model: str
    gpu_count: int
    cpu: str
    memory: str
    ephemeral_storage_gib: int
    price_per_hour_credits: int
    """For one GPU; fixed when the pod was rented."""
    cost_credits: int
    """What the rental has cost so far."""
    node: str | None
    created_at: Time
    started_at: Time | None
    ready_at: Time | None
    ended_at: Time | None
    end_reason: str | None
    """Why it ended: `returned`, `auto_idle`, `out_of_credits`, `start_failed:…`, …"""
    end_detail: str | None
    """The same in words."""
    low_balance_minutes: int | None
    """Set from an hour before the balance runs out: it lasts for at most so many minutes."""
    stale: Stale = None
    """There while the cluster does not answer: this is what was last known."""
    idle: Idle
    ssh_access: SshAccess

    examples = (
        {
            "pod_id": _POD_ID,
            "name": "rent",
            "phase": "Running",
            "ready": True,
            "pending_reason": None,
            "image": "kgpu-pytorch:latest",
            "gpu_model": "rtx4090",
            "gpu_count": 1,
            "cpu": "2",
            "memory": "16Gi",
            "ephemeral_storage_gib": 100,
            "price_per_hour_credits": 1000,
            "cost_credits": 17,
            "node": "worker-1",
            "created_at": "2026-05-25T21:51:23.120Z",
            "started_at": "2026-05-25T21:51:41.000Z",
            "ready_at": "2026-05-25T21:51:43.000Z",
            "ended_at": None,
            "end_reason": None,
            "end_detail": None,
            "low_balance_minutes": None,
            "idle": {
                "last_activity_at": "2026-05-25T21:52:10.400Z",
                "idle_seconds": 12,
                "idle_warning": False,
                "release_at": None,
            },
            "ssh_access": {**_FINGERPRINT, **_SSH},
        },
    )


class Rented(Answer):
    """A rental that has just begun."""

    pod_id: str
    gpu_model: str
    price_per_hour_credits: int
    balance_after_precheck: int
    """The balance less one hour's cost. Nothing is held back: minutes are charged as they begin."""
    ssh_access: NewSshAccess

    examples = (
        {
            "pod_id": _POD_ID,
            "gpu_model": "rtx4090",
            "price_per_hour_credits": 1000,
            "balance_after_precheck": 99000,
            "ssh_access": {**_FINGERPRINT, **_SSH},
        },
    )


class Rotated(Answer):
    """A rental whose key was just changed."""

    pod_id: str
    ssh_access: NewSshAccess

    examples = ({"pod_id": _POD_ID, "ssh_access": _MINTED},)
