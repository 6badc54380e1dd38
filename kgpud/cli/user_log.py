"""`kgpud user log`: what maintainers and operators did to accounts and their rentals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kgpud.cli.keeper import accounts
from kgpud.cli.state import Opened, json_option, run, show_json, show_table, state_options
from kgpud.clock import rfc3339
from store import actions
from store.records import Action


@click.command()
@click.argument("email", required=False)
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most."
)
@json_option
@state_options
def log(
    email: str | None, *, limit: int, as_json: bool, state: Path | None, config: Path | None
) -> None:
    """List who did what to accounts and rentals, or to EMAIL's. Newest first."""

    async def work(opened: Opened) -> Sequence[tuple[Action, str]]:
        account = await accounts(opened).find(email) if email else None
        account_id = account.account_id if account else None
        async with opened.db.reading() as rx:
            return await actions.newest(rx, limit, account_id=account_id)

    listed = run(state, config, work)
    if as_json:
        show_json([_fields(done, owner) for done, owner in listed])
        return
    show_table(
        ("AT", "WHO", "ACTION", "ACCOUNT", "POD", "DETAIL"),
        [(rfc3339(x.at), x.who, x.action, owner, x.pod_id, x.detail) for x, owner in listed],
    )


def _fields(done: Action, owner: str) -> dict[str, Any]:
    return {
        "id": done.id,
        "at": rfc3339(done.at),
        "who": done.who,
        "action": done.action,
        "account": owner,
        "pod_id": done.pod_id,
        "detail": done.detail,
    }
