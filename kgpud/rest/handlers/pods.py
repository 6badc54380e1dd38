"""Renting, seeing, re-keying and releasing pods."""

from dataclasses import replace

from kgpud import rentals
from kgpud.clock import rfc3339
from kgpud.idle import idle_ms, release_at, warns
from kgpud.reasons import sentence
from kgpud.rentals import RentRequest
from kgpud.rest.call import Call, Services
from kgpud.rest.shapes.events import WaitQuery
from kgpud.rest.shapes.menu import STALE
from kgpud.rest.shapes.pages import Page, page
from kgpud.rest.shapes.pods import (
    Idle,
    NewSshAccess,
    Pod,
    PodQuery,
    Rent,
    Rented,
    Rotate,
    Rotated,
    SshAccess,
)
from store.db import Connection
from store.records import Rental
from store.rentals import Which

SSH_USER = "kgpu"


async def list_pods(call: Call[None, PodQuery]) -> Page[Pod]:
    """List the account's rentals, newest first, ended ones included."""
    query = call.query
    which = Which(
        account_id=call.account.account_id,
        phase=query.phase,
        active=query.active,
        before=query.cursor,
        limit=query.limit + 1,
    )
    return page(
        await call.services.rentals.list(which),
        query.limit,
        lambda rental: (rental.created_at, rental.pod_id),
        lambda rental: shown(call.services, rental),
    )


async def rent_pod(call: Call[Rent]) -> Rented:
    """Rent a pod, or change nothing at all.

    It is billed by the minute once its container runs. Wait for `ready`, then use ssh or exec.
    """
    request = wish(call.services, call.body)
    async with call.once() as once:
        if once.answer is not None:
            return Rented.model_validate_json(once.answer)

        async def keep(tx: Connection, rented: rentals.Rented) -> None:
            answer = _rented(call.services, replace(rented, private_key=None))
            await once.keep(tx, answer.model_dump_json(exclude_unset=True))

        rented = await call.services.rentals.rent(call.account.account_id, request, keep)
        return _rented(call.services, rented)


def wish(services: Services, body: Rent) -> RentRequest:
    """Return what a body asks for, with the default image where it names none."""
    return RentRequest(
        name=body.name,
        image=body.image or services.default_image,
        gpu_model=body.gpu_model,
        gpu_count=body.gpu_count,
        cpu=body.cpu,
        memory=body.memory,
        ephemeral_storage_gib=body.ephemeral_storage_gib,
        env=body.env,
        ssh_pubkey=body.ssh_pubkey,
    )


async def get_pod(call: Call[None, WaitQuery]) -> Pod:
    """Show one rental; an ended one says why it ended.

    With `wait` the answer comes when that is so, which saves asking again and again.
    """
    services, query, mine = call.services, call.query, call.account.account_id
    if query.wait is None:
        return shown(services, await services.rentals.get(mine, call.pod_id))
    ready = query.wait == "ready"
    with call.lasting():
        rental = await services.history.until(
            mine, call.pod_id, lambda rental: ready and is_ready(rental), query.timeout
        )
    await call.admit()
    return shown(services, rental)


async def rotate_key(call: Call[Rotate]) -> Rotated:
    """Pin another SSH key, yours or one made for you; the old one dies at once."""
    rotated = await call.services.rentals.rotate(
        call.account.account_id, call.pod_id, call.body.ssh_pubkey
    )
    access = _new_access(call.services, rotated.rental, rotated.private_key)
    return Rotated(pod_id=rotated.rental.pod_id, ssh_access=access)


async def release_pod(call: Call) -> Pod:
    """End the rental and destroy its disk; for an ended one, just show it."""
    rental = await call.services.rentals.release(call.account.account_id, call.pod_id)
    return shown(call.services, rental)


def is_ready(rental: Rental) -> bool:
    """Tell whether a rental's pod can be used."""
    return rental.phase == "Running" and rental.ready


def _rented(services: Services, rented: rentals.Rented) -> Rented:
    return Rented(
        pod_id=rented.rental.pod_id,
        gpu_model=rented.rental.gpu_model,
        price_per_hour_credits=rented.rental.price_per_hour,
        balance_after_precheck=rented.balance_after_precheck,
        ssh_access=_new_access(services, rented.rental, rented.private_key),
    )


def _new_access(services: Services, rental: Rental, private_key: str | None) -> NewSshAccess:
    access = _access(services, rental).model_dump()
    return NewSshAccess(**access, **({"private_key": private_key} if private_key else {}))


def _access(services: Services, rental: Rental) -> SshAccess:
    return SshAccess(
        fingerprint=rental.fingerprint if rental.ended_at is None else None,
        ssh_host=services.ssh_host,
        ssh_port=services.ssh_port,
        ssh_user=SSH_USER,
    )


def _idle(services: Services, rental: Rental) -> Idle:
    now_ms = services.clock.now_ms()
    return Idle(
        last_activity_at=rfc3339(rental.last_activity_at),
        idle_seconds=idle_ms(rental, now_ms) // 1000,
        idle_warning=warns(rental, now_ms, services.life),
        release_at=_when(release_at(rental, now_ms, services.life)),
    )


def _when(moment_ms: int | None) -> str | None:
    return None if moment_ms is None else rfc3339(moment_ms)


def shown(services: Services, rental: Rental) -> Pod:
    """Return a rental as it looks from outside."""
    return Pod(
        pod_id=rental.pod_id,
        name=rental.name,
        phase=rental.phase,
        ready=is_ready(rental),
        pending_reason=rental.pending_reason if rental.phase == "Pending" else None,
        image=rental.image,
        gpu_model=rental.gpu_model,
        gpu_count=rental.gpu_count,
        cpu=rental.cpu,
        memory=rental.memory,
        ephemeral_storage_gib=rental.ephemeral_storage_gib,
        price_per_hour_credits=rental.price_per_hour,
        cost_credits=rental.cost,
        node=rental.node,
        created_at=rfc3339(rental.created_at),
        started_at=_when(rental.started_at),
        ready_at=_when(rental.ready_at),
        ended_at=_when(rental.ended_at),
        end_reason=rental.end_reason,
        end_detail=sentence(rental.end_reason) if rental.end_reason else None,
        low_balance_minutes=rental.low_balance_minutes if rental.ended_at is None else None,
        idle=_idle(services, rental),
        ssh_access=_access(services, rental),
        **(STALE if rental.gone_at is None and not services.catalog.fresh else {}),
    )
