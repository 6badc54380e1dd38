"""Signing in and out."""

from kgpud.dashboard import cookies, oidc
from kgpud.dashboard.oidc import Provider
from kgpud.dashboard.visit import Answer, Page, Redirect, ToProvider, Visit
from kgpud.errors import Code, UserError

_CALLBACK = "/sign-in/callback"


async def choose(visit: Visit) -> Answer:
    """Offer the ways in."""
    if visit.visitor is not None:
        return Redirect("/")
    return Page("sign_in.html")


async def confirm_link(visit: Visit) -> Answer:
    """Ask before the link is used up: mail scanners open every link, but press no button."""
    return Page("link.html", {"secret": visit.path["secret"]})


async def by_link(visit: Visit) -> Answer:
    """Sign in by a one-time link."""
    browser = await visit.site.sign_ins.by_link(visit.form.get("secret", ""))
    return await _enter(visit, browser)


async def to_provider(visit: Visit) -> Answer:
    """Send the browser to the provider, with a new flow's secret in its cookie."""
    flow = oidc.new_flow()
    address = await _provider(visit).address(flow, visit.site.origin + _CALLBACK)
    return ToProvider(address, flow)


async def from_provider(visit: Visit) -> Answer:
    """Take the provider's answer."""
    flow = visit.cookies.get(cookies.name(cookies.FLOW, secure=visit.site.secure), "")
    if not flow:
        raise UserError(Code.SIGN_IN_FAILED, "this sign-in took too long: try again")
    redirect_uri = visit.site.origin + _CALLBACK
    identity = await _provider(visit).identity(flow, visit.form, redirect_uri)
    browser = await visit.site.sign_ins.by_identity(identity)
    return await _enter(visit, browser)


async def leave(visit: Visit) -> Answer:
    """Sign this browser out."""
    await visit.site.sign_ins.end(visit.browser)
    return Redirect("/", {cookies.BROWSER: None})


async def _enter(visit: Visit, browser: str) -> Answer:
    """Give the browser a secret of its own; one that it came with is good no more."""
    if visit.browser:
        await visit.site.sign_ins.end(visit.browser)
    return Redirect("/", {cookies.BROWSER: browser, cookies.FLOW: None})


def _provider(visit: Visit) -> Provider:
    if visit.site.provider is None:
        raise UserError(Code.NOT_FOUND, "sign-in by a provider is not set up here")
    return visit.site.provider
