"""`kgpud session`: the audit trail of who was in which pod."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kgpud.cli.state import (
    Opened,
    json_option,
    run,
    show_json,
    show_table,
    state_options,
)
from kgpud.clock import rfc3339
from kgpud.errors import Code, UserError
from store import accounts, rentals, sessions
from store.records import Session


@click.group()
def session() -> None:
    """SSH sessions, open and past: list."""


@session.command("list")
@click.option("--pod", "pod_id", metavar="POD_ID", help="Of one rental only.")
@click.option("--user", "email", metavar="EMAIL", help="Of one account only.")
@click.option("--open", "only_open", is_flag=True, help="Those that are still open.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most."
)
@json_option
@state_options
def list_(
    *,
    pod_id: str | None,
    email: str | None,
    only_open: bool,
    limit: int,
    as_json: bool,
    state: Path | None,
    config: Path | None,
) -> None:
    """List SSH sessions, newest first. Who, where, from where, how it ended."""

    async def work(opened: Opened) -> Sequence[tuple[Session, str]]:
        async with opened.db.reading() as rx:
            account = await accounts.find(rx, email) if email else None
            if email and account is None:
                raise UserError(Code.NOT_FOUND, f"there is no account {email}")
            if pod_id and await rentals.get(rx, pod_id) is None:
                raise UserError(Code.NOT_FOUND, f"there is no pod {pod_id}")
            return await sessions.newest(
                rx,
                limit,
                pod_id=pod_id,
                account_id=account.account_id if account else None,
                only_open=only_open,
            )

    listed = run(state, config, work)
    if as_json:
        show_json([_fields(one, owner) for one, owner in listed])
    else:
        _show(listed)


def _show(listed: Sequence[tuple[Session, str]]) -> None:
    show_table(
        ("OPENED", "CLOSED", "ACCOUNT", "POD", "FROM", "KIND", "IN", "OUT", "EXIT", "REASON"),
        [
            (
                rfc3339(one.opened_at),
                _when(one.closed_at),
                owner,
                one.pod_id,
                one.peer,
                one.kind,
                one.bytes_in,
                one.bytes_out,
                one.exit_status,
                one.reason,
            )
            for one, owner in listed
        ],
    )


def _fields(one: Session, owner: str) -> dict[str, Any]:
    return {
        "session_id": one.session_id,
        "account": owner,
        "pod_id": one.pod_id,
        "peer": one.peer,
        "client": one.client,
        "fingerprint": one.fingerprint,
        "key_generation": one.generation,
        "kind": one.kind,
        "opened_at": rfc3339(one.opened_at),
        "closed_at": _when(one.closed_at),
        "bytes_in": one.bytes_in,
        "bytes_out": one.bytes_out,
        "exit_status": one.exit_status,
        "reason": one.reason,
    }


def _when(moment: int | None) -> str | None:
    return None if moment is None else rfc3339(moment)
