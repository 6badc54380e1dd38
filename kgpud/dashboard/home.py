"""The first page: the menu for strangers; token, balance and quick start for members."""

from kgpud.dashboard.visit import Answer, Page, Visit
from store.rentals import Which

_HOUR_MS = 3_600_000


async def show(visit: Visit) -> Answer:
    """Show what there is to see for whoever comes."""
    account = visit.visitor
    menu = visit.services.catalog.menu()
    if account is None:
        return Page("welcome.html", {"menu": menu})
    if account.status != "approved":
        return Page("waiting.html", status=403)
    rentals = visit.services.rentals
    burn = await rentals.burn_per_hour(account.account_id)
    token = await visit.services.tokens.current(account.account_id)
    live = await rentals.list(Which(account.account_id, active=True))
    now = visit.services.clock.now_ms()
    return Page(
        "home.html",
        {
            "burn": burn,
            "lasts_until": now + account.balance * _HOUR_MS // burn if burn else None,
            "token": token,
            "live": live,
            "host_keys": visit.services.host_keys.current(),
        },
    )


async def confirm_reissue(visit: Visit) -> Answer:
    """Say what a new token breaks, before it does."""
    token = await visit.services.tokens.current(visit.account.account_id)
    return Page("reissue.html", {"token": token})


async def reissue(visit: Visit) -> Answer:
    """Replace the token, and show the new one this once."""
    text = await visit.services.tokens.issue(visit.account.account_id)
    return Page("token.html", {"text": text})
