"""What maintainers see and do: people, the fleet, live rentals."""

from kgpud.dashboard.visit import Answer, Page, Redirect, Visit
from kgpud.errors import Code, UserError
from kgpud.reasons import ADMIN_RELEASED
from store.rentals import Which

_SESSIONS = 200


async def people(visit: Visit) -> Answer:
    """List the accounts, those that wait for approval first."""
    found = await visit.services.accounts.list()
    order = {"pending": 0, "approved": 1, "suspended": 2}
    return Page("people.html", {"people": sorted(found, key=lambda one: order[one.status])})


async def decide(visit: Visit) -> Answer:
    """Approve, suspend, reinstate or credit an account; nobody can suspend themselves."""
    who = visit.account.email
    account_id, accounts = visit.path["account_id"], visit.services.accounts
    match visit.form.get("do"):
        case "approve":
            await accounts.approve(account_id, who)
        case "suspend" if account_id != visit.account.account_id:
            await accounts.suspend(account_id, who)
        case "reinstate":
            await accounts.reinstate(account_id, who)
        case "credit":
            note = visit.form.get("note", "").strip()
            if not note:
                raise UserError(Code.VALIDATION_FAILED, "say why, for the ledger", field="note")
            await accounts.credit(account_id, _amount(visit), who=who, note=note)
        case _:
            raise UserError(
                Code.BAD_REQUEST, "approve, suspend, reinstate or credit is wanted", field="do"
            )
    return Redirect("/admin")


async def fleet(visit: Visit) -> Answer:
    """Show the machines and what their GPUs do."""
    catalog = visit.services.catalog
    return Page("fleet.html", {"nodes": catalog.nodes(), "fresh": catalog.fresh})


async def rentals(visit: Visit) -> Answer:
    """List everybody's live rentals."""
    # The accounts first: of one that is deleted meanwhile no rental is left.
    emails = {one.account_id: one.email for one in await visit.services.accounts.list()}
    found = await visit.services.rentals.list(Which(active=True))
    found = [one for one in found if one.account_id in emails]
    return Page("all_rentals.html", {"rentals": found, "emails": emails})


async def sessions(visit: Visit) -> Answer:
    """List who came in over SSH, newest first."""
    return Page("sessions.html", {"sessions": await visit.services.audit.newest(_SESSIONS)})


async def release(visit: Visit) -> Answer:
    """End somebody's rental."""
    await visit.services.rentals.release(None, visit.path["pod_id"], ADMIN_RELEASED)
    return Redirect("/admin/rentals")


def _amount(visit: Visit) -> int:
    text = visit.form.get("amount", "").strip()
    if not text.removeprefix("-").isdecimal() or len(text) > 13:  # noqa: PLR2004 - 10**12
        raise UserError(Code.VALIDATION_FAILED, "a whole number of credits", field="amount")
    return int(text)
