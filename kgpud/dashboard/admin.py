"""What maintainers see and do: people, the fleet, live rentals, who came and who decided."""

from dataclasses import dataclass

from kgpud.dashboard.visit import Answer, Page, Redirect, Visit
from kgpud.errors import Code, UserError
from store.rentals import Which

_SESSIONS, _ACTIONS, _LINES, _PEOPLE, _RENTALS = 100, 100, 50, 200, 500


async def people(visit: Visit) -> Answer:
    """List the accounts, those that wait for approval apart; `q` is part of a name or address."""
    wanted = visit.form.get("q", "").strip()
    found = [
        one
        for one in await visit.services.accounts.list()
        if wanted.casefold() in f"{one.name} {one.email}".casefold()
    ]
    others = [one for one in reversed(found) if one.status != "pending"]
    context = {
        "waiting": [one for one in found if one.status == "pending"],
        "people": others[:_PEOPLE],
        "hidden": len(others) - _PEOPLE,
        "wanted": wanted,
    }
    return Page("people.html", context)


async def person(visit: Visit) -> Answer:
    """Show one account: what it rents, its ledger, and what can be done about it."""
    return await _person(visit, _Refused("", ""))


async def decide(visit: Visit) -> Answer:
    """Approve, suspend, reinstate or credit an account; nobody can suspend themselves."""
    who, accounts = visit.account.email, visit.services.accounts
    account_id = (await accounts.find(visit.path["user"])).account_id
    match visit.form.get("do"):
        case "approve":
            # A page may be old, and the account suspended by now.
            await accounts.approve(account_id, who, only_pending=True)
        case "suspend" if account_id != visit.account.account_id:
            await accounts.suspend(account_id, who)
        case "reinstate":
            await accounts.reinstate(account_id, who)
        case "credit":
            try:
                await _credit(visit)
            except UserError as refused:
                return await _person(visit, _Refused(refused.field or "amount", refused.message))
        case _:
            raise UserError(
                Code.BAD_REQUEST, "approve, suspend, reinstate or credit is wanted", field="do"
            )
    return Redirect("/admin" if visit.form["do"] == "approve" else f"/admin/people/{account_id}")


@dataclass(frozen=True)
class _Refused:
    """What was wrong with a form, and with which field; "" for nothing."""

    field: str
    message: str


async def _person(visit: Visit, refused: _Refused) -> Page:
    one = await visit.services.accounts.find(visit.path["user"])
    live = await visit.services.rentals.list(Which(one.account_id, active=True))
    context = {
        "one": one,
        "live": live,
        "spending": await visit.services.statements.spending(one.account_id),
        "token": await visit.services.tokens.current(one.account_id),
        "lines": await visit.services.accounts.ledger(one.account_id, _LINES),
        "values": {name: visit.form.get(name, "") for name in ("amount", "note")},
        "errors": {refused.field: refused.message} if refused.message else {},
    }
    return Page("person.html", context, 422 if refused.message else 200)


async def _credit(visit: Visit) -> None:
    note = visit.form.get("note", "").strip()
    text = visit.form.get("amount", "").strip()
    digits = text.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdecimal()) or len(text) > 13:  # noqa: PLR2004 - 10**12
        raise UserError(Code.VALIDATION_FAILED, "a whole number of credits", field="amount")
    if not note or len(note) > 200:  # noqa: PLR2004 - a line
        raise UserError(Code.VALIDATION_FAILED, "say why in a line, for the ledger", field="note")
    await visit.services.accounts.credit(
        visit.path["user"], int(text), who=visit.account.email, note=note
    )


async def fleet(visit: Visit) -> Answer:
    """Show the machines and what their GPUs do."""
    nodes = visit.services.catalog.nodes()
    usable = [node for node in nodes if node.ready and not node.cordoned]
    counted = {
        "total": sum(node.total for node in nodes),
        "busy": sum(node.busy for node in nodes),
        "free": sum(node.free for node in usable),
    }
    return Page("fleet.html", {"nodes": nodes, **counted})


async def rentals(visit: Visit) -> Answer:
    """List everybody's live rentals."""
    found = await visit.services.rentals.list(Which(active=True, limit=_RENTALS))
    emails = await visit.services.accounts.emails()
    return Page("all_rentals.html", {"rentals": found, "emails": emails, "most": _RENTALS})


async def confirm_release(visit: Visit) -> Answer:
    """Say whose rental would be ended, before it is."""
    rental = await visit.services.rentals.get(None, visit.path["pod_id"])
    owner = await visit.services.accounts.find(rental.account_id)
    return Page("force_release.html", {"rental": rental, "owner": owner})


async def release(visit: Visit) -> Answer:
    """End somebody's rental."""
    await visit.services.rentals.force_release(visit.path["pod_id"], visit.account.email)
    return Redirect("/admin/rentals")


async def audit(visit: Visit) -> Answer:
    """List who came in over SSH, who did what, and who gave credits to whom; newest first."""
    return Page(
        "audit.html",
        {
            "sessions": await visit.services.audit.newest(_SESSIONS),
            "actions": await visit.services.audit.actions(_ACTIONS),
            "lines": await visit.services.accounts.decided(_LINES),
        },
    )
