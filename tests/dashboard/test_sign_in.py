"""Getting in, and all the ways in that are none."""

import re

import pytest

from .browser import Site, browser


async def test_a_link_signs_in_once(site: Site) -> None:
    link = site.kgpud("user", "login-link", "boss@example.org")
    async with browser(site) as one, browser(site) as other:
        # A mail scanner that opens it does not use it up.
        await other.get(link)
        secret = link.rpartition("/")[2]
        assert "Hello, boss" in (await one.post("/sign-in/link", secret=secret)).shown
        again = await other.post("/sign-in/link", secret=secret)
        assert again.status == 401
        assert "used already" in again.shown
        assert (await other.get("/pods")).where.endswith("/sign-in")


async def test_a_link_is_for_somebody(site: Site) -> None:
    with pytest.raises(AssertionError, match="there is no such account"):
        site.kgpud("user", "login-link", "nobody@example.org")


async def test_the_first_sign_in_makes_an_account_that_waits(site: Site) -> None:
    async with browser(site) as ada:
        page = await ada.by_provider("ada")
        assert (page.status, "waits for a maintainer" in page.shown) == (403, True)
        assert (await ada.get("/rent")).status == 403
        site.kgpud("user", "approve", "ada@example.org")
        page = await ada.get("/")
        assert "Hello, Ada" in page.shown
        assert "100 000" in page.shown.replace("\N{NARROW NO-BREAK SPACE}", " ")
    # Who comes back is who came before; the trial credits came once.
    async with browser(site) as ada:
        assert "Hello, Ada" in (await ada.by_provider("ada")).shown
    assert site.kgpud("user", "show", "ada@example.org").count("trial credits") == 1


async def test_an_approved_domain_needs_no_approval(site: Site) -> None:
    async with browser(site) as bob:
        assert "Hello, Bob" in (await bob.by_provider("bob")).shown


async def test_an_address_that_nobody_verified_opens_nothing(site: Site) -> None:
    async with browser(site) as eve:
        page = await eve.by_provider("eve")
        assert (page.status, "has not verified your e-mail" in page.shown) == (401, True)
    assert "eve@" not in site.kgpud("user", "list")


async def test_an_address_that_changed_hands_opens_nothing(site: Site) -> None:
    async with browser(site) as ada, browser(site) as mallory:
        await ada.by_provider("ada")
        page = await mallory.by_provider("mallory")
        assert (page.status, "somebody else signs in" in page.shown) == (401, True)


async def test_a_sign_in_that_was_not_begun_here_is_refused(site: Site) -> None:
    async with browser(site) as victim, browser(site) as thief:
        stolen = await thief.as_subject(await thief.to_provider(), "bob")
        # No cookie of a sign-in under way, then one of another's.
        assert (await victim.get(stolen)).status == 401
        await victim.to_provider()
        assert "not begun here" in (await victim.get(stolen)).shown
        forged = re.sub(r"state=[^&]*", "state=x", stolen)
        assert (await thief.get(forged)).status == 401
        denied = re.sub(r"code=[^&]*", "error=access_denied", stolen)
        assert (await thief.get(denied)).status == 401
        assert "Hello, Bob" in (await thief.get(stolen)).shown
        # The code is used up, and the sign-in is over.
        assert (await thief.get(stolen)).status == 401


async def test_the_nonce_counts(site: Site) -> None:
    async with browser(site) as thief:
        address = await thief.to_provider()
        assert "code_challenge_method=S256" in address
        nonce = await thief.as_subject(re.sub(r"nonce=[^&]*", "nonce=x", address), "bob")
        assert (await thief.get(nonce)).status == 401


async def test_every_sign_in_has_a_secret_of_its_own(site: Site) -> None:
    async with browser(site) as one:
        planted = {"Cookie": "kgpud=" + "A" * 43}
        assert (await one.fetch("GET", "/pods", headers=planted)).headers["Location"] == "/sign-in"
        await one.by_provider("boss")
        first = one.cookies()["kgpud"]
        await one.by_link(site, "boss@example.org")
        assert one.cookies()["kgpud"] != first
    async with browser(site) as other:
        old = await other.fetch("GET", "/pods", headers={"Cookie": f"kgpud={first}"})
        assert old.status == 303


async def test_who_signs_out_is_out(site: Site) -> None:
    async with browser(site) as one:
        page = await one.by_provider("boss")
        kept = one.cookies()["kgpud"]
        assert "Sign in" in (await one.post("/sign-out", page.csrf)).shown
        async with browser(site) as other:
            cookie = {"Cookie": f"kgpud={kept}"}
            assert (await other.fetch("GET", "/pods", headers=cookie)).status == 303


async def test_cookies_are_kept_from_scripts_and_other_sites(site: Site) -> None:
    async with browser(site) as one:
        back = await one.as_subject(await one.to_provider(), "boss")
        reply = await one.fetch("GET", back)
        cookie = reply.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
async def test_another_sites_form_does_nothing(site: Site, headers: dict[str, str]) -> None:
    async with browser(site) as one:
        page = await one.by_provider("boss")
        before = (await one.get("/")).shown
        data = {"csrf": page.csrf}
        reply = await one.fetch("POST", "/token", data=data, headers=headers)
        assert (reply.status, "own pages alone" in reply.text) == (403, True)
        assert (await one.get("/")).shown == before


async def test_a_form_without_its_secret_does_nothing(site: Site) -> None:
    async with browser(site) as one, browser(site) as other:
        await one.by_provider("boss")
        foreign = (await other.by_provider("boss")).csrf
        for csrf in ("", "0" * 64, foreign):
            assert (await one.post("/token", csrf)).status == 403
        odd = await one.fetch("POST", "/token", json={"csrf": foreign})
        assert odd.status == 415


@pytest.mark.parametrize(
    "path", ["/", "/sign-in", "/sign-in/link/x", "/nowhere", "/static/none.css"]
)
async def test_strangers_pages_tell_browsers_what_to_refuse(site: Site, path: str) -> None:
    async with browser(site) as one:
        reply = await one.fetch("GET", path)
        assert len(reply.headers["X-Request-ID"]) == 16
        if reply.status == 200:
            policy = reply.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert reply.headers["X-Frame-Options"] == "DENY"
            assert not re.findall(r'(?:src|href)="(?:https?:)?//', reply.text)


async def test_the_log_has_no_secret(site: Site) -> None:
    link = site.kgpud("user", "login-link", "boss@example.org")
    secret = link.rpartition("/")[2]
    async with browser(site) as one:
        await one.get(link)
        await one.post("/sign-in/link", secret=secret)
        await one.by_provider("bob")
        cookies = one.cookies()
    log = site.config.with_suffix(".log").read_text()
    assert "sign_in" in log
    for word in (secret, *cookies.values(), "a secret"):
        assert word not in log
