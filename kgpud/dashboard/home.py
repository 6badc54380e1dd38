"""The first page: the menu for strangers; token, balance and quick start for members."""

from kgpud.dashboard import rentform
from kgpud.dashboard.visit import Answer, Page, Visit
from store.rentals import Which


async def show(visit: Visit) -> Answer:
    """Show what there is to see for whoever comes."""
    account = visit.visitor
    menu = visit.services.catalog.menu()
    if account is None:
        return Page("welcome.html", {"menu": menu})
    if account.status != "approved":
        return Page("waiting.html", status=403)
    token = await visit.services.tokens.current(account.account_id)
    live = await visit.services.rentals.list(Which(account.account_id, active=True))
    return Page(
        "home.html",
        {
            "spending": await visit.services.statements.spending(account.account_id),
            "token": token,
            "live": live,
            **quick_start(visit),
        },
    )


def quick_start(visit: Visit) -> dict[str, object]:
    """Return what the quick start needs: a class that is to be had, and who the server is."""
    model = rentform.model(visit.services.catalog.menu())
    return {"gpu_model": model, "host_keys": visit.services.host_keys.current()}


async def confirm_reissue(visit: Visit) -> Answer:
    """Say what a new token breaks, before it does."""
    token = await visit.services.tokens.current(visit.account.account_id)
    return Page("reissue.html", {"token": token})


async def reissue(visit: Visit) -> Answer:
    """Replace the token, and show the new one this once."""
    text = await visit.services.tokens.issue(visit.account.account_id)
    return Page("token.html", {"text": text})
