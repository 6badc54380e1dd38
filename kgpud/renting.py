"""A rental's beginning: what is checked before anything exists, and what is then created."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from gateway import keys as ssh_keys
from kgpud.catalog import Catalog
from kgpud.cluster import manifests
from kgpud.cluster.client import Cluster
from kgpud.cluster.errors import ClusterError, Refused, Unreachable
from kgpud.cluster.manifests import Installation
from kgpud.cluster.pods import SCHEDULING, derive
from kgpud.errors import Code, UserError
from store import accounts, keys, rentals
from store.db import Connection
from store.records import Account, Rental

log = structlog.get_logger()

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENV_RESERVED = ("NVIDIA_", "LD_", "KGPU_")
# Linux takes at most 128 KiB in one string of an environment; the pod object must stay small too.
_ENV_LIMIT = 64 * 1024
# Each has a line of its own in the pod object, and another in what the API server notes about it.
_ENV_MOST = 1000


@dataclass(frozen=True)
class RentRequest:
    """What somebody asks for, already checked for types and limits one by one."""

    name: str
    image: str
    gpu_model: str
    gpu_count: int
    cpu: str
    memory: str
    ephemeral_storage_gib: int
    env: Mapping[str, str] | None = field(default=None, repr=False)
    ssh_pubkey: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class RentSettings:
    """What the operator decided."""

    installation: Installation
    allows_image: Callable[[str], bool]


@dataclass(frozen=True)
class Rented:
    """A new rental. `private_key` is there only if we minted it, and is kept nowhere."""

    rental: Rental
    balance_after_precheck: int
    private_key: str | None = field(repr=False)


@dataclass(frozen=True)
class Rotated:
    """A rental with its new key; `private_key` as in Rented."""

    rental: Rental
    private_key: str | None = field(repr=False)


Admitted = Callable[[Connection, Rented], Awaitable[None]]


@dataclass(frozen=True)
class Key:
    """The public key to pin, and the private one if we made the pair."""

    public: ssh_keys.PublicKey
    private_key: str | None = field(repr=False)


def choose_key(ssh_pubkey: str | None, pod_id: str) -> Key:
    """Read the caller's public key, or mint a pair. VALIDATION_FAILED, field ssh_pubkey."""
    if ssh_pubkey is None:
        minted = ssh_keys.mint(pod_id)
        return Key(minted.public, minted.private_key)
    try:
        return Key(ssh_keys.parse(ssh_pubkey), None)
    except ssh_keys.KeyRefused as error:
        raise UserError(Code.VALIDATION_FAILED, str(error), field="ssh_pubkey") from None


async def check_unused(conn: Connection, fingerprint: str) -> None:
    """Raise DUPLICATE if a live rental has this key."""
    if await keys.live_rental(conn, fingerprint) is not None:
        raise UserError(
            Code.DUPLICATE,
            "this key is pinned to a live rental; use another or let us mint one",
            field="ssh_pubkey",
        )


def draft(
    account_id: str, request: RentRequest, settings: RentSettings, catalog: Catalog, now: int
) -> Rental:
    """Return the rental as it would be. VALIDATION_FAILED with the field that is wrong."""
    if not settings.allows_image(request.image):
        raise _wrong("image", "this image's registry is not allowed here")
    _check_env(request.env or {})
    price = catalog.price(request.gpu_model)
    if price is None:
        raise _wrong("gpu_model", f"unknown; there are {', '.join(catalog.models())}")
    return Rental(
        pod_id=f"gpu-{request.name}-{now // 1000}-{secrets.token_hex(3)}",
        account_id=account_id,
        name=request.name,
        image=request.image,
        gpu_model=request.gpu_model,
        gpu_count=request.gpu_count,
        cpu=request.cpu,
        memory=request.memory,
        ephemeral_storage_gib=request.ephemeral_storage_gib,
        price_per_hour=price,
        created_at=now,
        last_activity_at=now,
        pending_reason=SCHEDULING,
    )


async def admit(tx: Connection, rental: Rental, key: Key, catalog: Catalog) -> tuple[Rental, int]:
    """Check what only a transaction can, and write the rental and its key.

    Returns the rental and the balance less one hour at its rate. Raises DUPLICATE,
    QUOTA_EXCEEDED, NO_CAPACITY or INSUFFICIENT_CREDITS, in this order.
    """
    account = await accounts.find(tx, rental.account_id)
    if account is None or account.status != "approved":
        raise UserError(Code.ACCOUNT_SUSPENDED, "this account may not rent")
    await check_unused(tx, key.public.fingerprint)
    await _check_quota(tx, account, rental)
    await _check_capacity(tx, rental, catalog)
    left = account.balance - rental.rate_per_hour
    if left < 0:
        raise UserError(
            Code.INSUFFICIENT_CREDITS,
            f"one hour costs {rental.rate_per_hour} credits, and the balance is {account.balance}:"
            " ask a maintainer for more",
        )
    await rentals.insert(tx, rental)
    public = key.public
    await keys.pin(tx, rental.pod_id, public.fingerprint, public.line, 1, rental.created_at)
    return replace(rental, fingerprint=public.fingerprint), left


async def create(
    cluster: Cluster,
    catalog: Catalog,
    rental: Rental,
    env: Mapping[str, str],
    token: str,
    installation: Installation,
) -> bool:
    """Create the rental's Secret and pod; return whether the cluster said that it has them.

    False means that it did not answer in time and may have the pod or not: reconcile finds out.
    Raises ClusterError where there is certainly no pod.
    """
    try:
        await cluster.create_secret(manifests.secret(rental, token, installation))
    except Unreachable as error:
        # Whether the Secret exists or not, no pod was asked for.
        raise Unreachable(str(error), maybe_done=False, status=error.status) from error
    try:
        pod = derive(await cluster.create_pod(manifests.pod(rental, env, installation)))
    except Unreachable as error:
        if not error.maybe_done:
            raise
        log.warning("rental.create_unanswered", pod_id=rental.pod_id, error=str(error))
        return False
    catalog.add_created(pod)
    try:
        await cluster.patch_secret(rental.pod_id, manifests.owned_by(pod.name, pod.uid))
    except ClusterError as error:
        # Reconcile deletes it with the rental all the same.
        log.warning("rental.secret_unowned", pod_id=rental.pod_id, error=str(error))
    return True


def as_user_error(error: ClusterError) -> UserError:
    """Say to a user what the cluster's answer to a creation means."""
    if not isinstance(error, Refused):
        return UserError(Code.CLUSTER_UNREACHABLE, "the cluster does not answer; try again soon")
    if "exceeded quota" in str(error):
        return UserError(Code.NO_CAPACITY, "the cluster's own quota is used up")
    return UserError(Code.INTERNAL, f"the cluster refused the pod ({error.reason})")


def _check_env(env: Mapping[str, str]) -> None:
    if len(env) > _ENV_MOST:
        raise _wrong("env", f"more than {_ENV_MOST} variables")
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise _wrong(f"env.{name[:80]}", "not a name of letters, digits and underscores")
        if name.startswith(_ENV_RESERVED):
            raise _wrong(f"env.{name[:80]}", "names in NVIDIA_, LD_ and KGPU_ are reserved")
        if "\0" in value:
            raise _wrong(f"env.{name[:80]}", "holds a NUL byte")
    if sum(len(name) + len(value.encode()) for name, value in env.items()) > _ENV_LIMIT:
        raise _wrong("env", f"longer than {_ENV_LIMIT} bytes together")


async def _check_quota(tx: Connection, account: Account, rental: Rental) -> None:
    gpus, bare = await rentals.in_use(tx, account.account_id)
    more = "release one first, or ask a maintainer for more"
    if gpus + rental.gpu_count > account.quota_gpus:
        raise UserError(
            Code.QUOTA_EXCEEDED,
            f"{rental.gpu_count} wanted, {gpus} of your {account.quota_gpus} GPUs in use; {more}",
        )
    if rental.gpu_count == 0 and bare >= account.quota_cpu_pods:
        raise UserError(
            Code.QUOTA_EXCEEDED,
            f"{bare} of your {account.quota_cpu_pods} pods without a GPU in use; {more}",
        )


async def _check_capacity(tx: Connection, rental: Rental, catalog: Catalog) -> None:
    if rental.gpu_count == 0:
        return
    free, together = catalog.room(rental.gpu_model, await rentals.holding(tx, rental.gpu_model))
    if rental.gpu_count > min(free, together):
        where = f", at most {together} on one node" if 0 < together < free else ""
        raise UserError(
            Code.NO_CAPACITY,
            f"{rental.gpu_count} {rental.gpu_model} wanted, {free} free{where}",
            field="gpu_count" if free else "gpu_model",
        )


def _wrong(where: str, message: str) -> UserError:
    return UserError(Code.VALIDATION_FAILED, message, field=where)
