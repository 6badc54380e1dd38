"""`kgpud pod`: everybody's rentals, and ending one."""

from pathlib import Path
from typing import Any

import click

from kgpud import releasing
from kgpud.cli.keeper import who
from kgpud.cli.state import (
    Opened,
    json_option,
    run,
    show_fields,
    show_json,
    show_table,
    state_options,
)
from kgpud.clock import rfc3339
from kgpud.errors import Code, UserError
from store import accounts, rentals
from store.db import Connection
from store.records import Rental


@click.group()
def pod() -> None:
    """Rentals: list, show, release."""


@pod.command("list")
@click.option("--all", "ended_too", is_flag=True, help="Ended ones too.")
@json_option
@state_options
def list_(*, ended_too: bool, as_json: bool, state: Path | None, config: Path | None) -> None:
    """List everybody's rentals, newest first."""

    async def work(opened: Opened) -> list[tuple[Rental, str]]:
        async with opened.db.reading() as rx:
            emails = await accounts.emails(rx)
            found = await rentals.newest(rx, rentals.Which(active=None if ended_too else True))
        return [(rental, emails[rental.account_id]) for rental in found]

    listed = run(state, config, work)
    if as_json:
        show_json([_fields(rental, email) for rental, email in listed])
        return
    show_table(
        ("POD", "ACCOUNT", "GPU", "PHASE", "READY", "COST", "CREATED", "END"),
        [
            (
                r.pod_id,
                email,
                f"{r.gpu_count}x {r.gpu_model}",
                r.phase,
                "yes" if r.ready else "no",
                r.cost,
                rfc3339(r.created_at),
                r.end_reason,
            )
            for r, email in listed
        ],
    )


@pod.command()
@click.argument("pod_id")
@json_option
@state_options
def show(pod_id: str, *, as_json: bool, state: Path | None, config: Path | None) -> None:
    """Show one rental, running or long gone."""

    async def work(opened: Opened) -> dict[str, Any]:
        async with opened.db.reading() as rx:
            return await _described(rx, await _found(rx, pod_id))

    fields = run(state, config, work)
    if as_json:
        show_json(fields)
    else:
        show_fields(fields)


@pod.command()
@click.argument("pod_id")
@state_options
def release(pod_id: str, state: Path | None, config: Path | None) -> None:
    """End a rental. Its bill stops and its key dies now; the daemon deletes the pod."""
    rental, _ = run(
        state, config, lambda opened: releasing.force(opened.db, opened.clock, pod_id, who())
    )
    assert rental.ended_at is not None
    click.echo(f"{pod_id} ended at {rfc3339(rental.ended_at)}: {rental.end_reason}")


async def _found(conn: Connection, pod_id: str) -> Rental:
    rental = await rentals.get(conn, pod_id)
    if rental is None:
        raise UserError(Code.NOT_FOUND, "there is no such pod")
    return rental


async def _described(conn: Connection, rental: Rental) -> dict[str, Any]:
    account = await accounts.find(conn, rental.account_id)
    return _fields(rental, account.email if account else rental.account_id)


def _fields(rental: Rental, email: str) -> dict[str, Any]:
    """Return what an operator sees: the API's names where it has one."""
    return {
        "pod_id": rental.pod_id,
        "account": email,
        "phase": rental.phase,
        "ready": rental.ready,
        "pending_reason": rental.pending_reason if rental.phase == "Pending" else None,
        "image": rental.image,
        "gpu_model": rental.gpu_model,
        "gpu_count": rental.gpu_count,
        "cpu": rental.cpu,
        "memory": rental.memory,
        "ephemeral_storage_gib": rental.ephemeral_storage_gib,
        "price_per_hour_credits": rental.price_per_hour,
        "charged_minutes": rental.charged_minutes,
        "cost_credits": rental.cost,
        "node": rental.node,
        "fingerprint": rental.fingerprint,
        "created_at": rfc3339(rental.created_at),
        "started_at": _when(rental.started_at),
        "ready_at": _when(rental.ready_at),
        "finished_at": _when(rental.finished_at),
        "ended_at": _when(rental.ended_at),
        "end_reason": rental.end_reason,
        "gone_at": _when(rental.gone_at),
        "last_activity_at": rfc3339(rental.last_activity_at),
    }


def _when(moment: int | None) -> str | None:
    return None if moment is None else rfc3339(moment)
