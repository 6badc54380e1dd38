"""What a hostile user, visitor, page or name can't do."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import quote

import asyncssh
import pytest
from aiohttp import web
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from kgpud.dashboard import cookies
from tests.e2e.dev import eventually, make_key

from .browser import Browser, Site, browser

EVIL = "\"'><img src=x onerror=owned=1><script>owned=1</script>"


@contextmanager
def _unharmed(page: Page) -> Iterator[None]:
    """Fail if the page runs, or so much as tries to run, what is not ours."""
    said: list[str] = []
    page.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    yield
    # What the browser had to refuse would have been let in by us; a 4xx is our own answer.
    assert [one for one in said if "Failed to load resource" not in one] == []


async def _looked_at(page: Page, address: str) -> str:
    await page.goto(address)
    assert await page.evaluate("typeof owned") == "undefined", address
    assert await page.locator("img[src=x]").count() == 0, address
    return await page.content()


async def _token_of(one: Browser) -> str:
    shown = (await one.post("/token", (await one.get("/")).csrf)).shown
    return next(word for word in shown.split() if word.startswith("kgpu_"))


async def _hostile(one: Browser, folder: Path) -> tuple[str, str]:
    """Put evil words wherever a user may put words; return the pod's id and the object's."""
    csrf = (await one.by_provider("evil")).csrf
    key = make_key(folder / "key")
    public = f"{key.with_suffix('.pub').read_text().strip()} {EVIL}"
    form = {"gpu_model": "v100", "ssh_pubkey": public, "env": f"A={EVIL}", "name": "evil"}
    await one.post("/rent", csrf, **form)
    pod_id = next(word for word in (await one.get("/pods")).shown.split() if "-evil-" in word)
    made = await one.post("/objects", csrf, label=EVIL[:100])
    url = made.text.partition('data-upload="')[2].partition('"')[0].replace("&amp;", "&")
    await one.fetch("PUT", url, data=EVIL.encode())
    headers = {"Authorization": f"Bearer {await _token_of(one)}"}
    state = await one.fetch("GET", f"/v1/pods/{pod_id}?wait=ready&timeout=20", headers=headers)
    assert '"ready":true' in state.text
    write = {"cmd": ["sh", "-c", 'echo "$A" > /proc/1/fd/1']}
    await one.fetch("POST", f"/v1/pods/{pod_id}/exec", json=write, headers=headers)
    port = re.search(r'"ssh_port":(\d+)', state.text)
    assert port
    options = {"known_hosts": None, "client_keys": [str(key)], "config": None}
    async with asyncssh.connect(
        "127.0.0.1", int(port[1]), username="kgpu", client_version=EVIL, **options
    ) as connection:
        await connection.run("true", check=True)
    objects = await one.get("/objects")
    return pod_id, objects.text.partition('href="/objects/')[2].partition('"')[0]


async def test_no_word_of_a_user_is_more_than_a_word(
    site: Site, chromium: Chromium, tmp_path: Path
) -> None:
    async with browser(site) as one:
        pod_id, object_id = await _hostile(one, tmp_path)
        evil = one.cookies()["kgpud"]
        async with browser(site) as boss:
            page_of = await boss.by_provider("boss")
            people = await boss.get("/admin?q=" + quote("onerror"))
            account = re.findall(r"/admin/people/(\w+)", people.text)[0]
            credit = {"do": "credit", "amount": "5", "note": EVIL}
            await boss.post(f"/admin/people/{account}", page_of.csrf, **credit)
            maintainer = boss.cookies()["kgpud"]
        context = await chromium.new_context()
        page = await context.new_page()
        with _unharmed(page):
            await context.add_cookies([{"name": "kgpud", "value": evil, "url": site.origin}])
            for path in (
                *("/", "/pods", f"/pods/{pod_id}", f"/pods/{pod_id}/release", "/usage"),
                *("/objects", f"/objects/{object_id}", f"/objects/{object_id}/delete"),
                *(f"/rent?name={quote(EVIL)}&image={quote(EVIL)}&env={quote('A=' + EVIL)}",),
                *(f"/pods/{quote(EVIL)}", f"/sign-in/link/{quote(EVIL, safe='')}"),
                *(f"/sign-in/callback?error={quote(EVIL)}&state=x", f"/{quote(EVIL)}"),
            ):
                await _looked_at(page, site.origin + path)
            assert "&lt;script&gt;owned" in await _looked_at(
                page, f"{site.origin}/pods/{pod_id}/log"
            )
            await page.goto(f"{site.origin}/rent")
            await page.get_by_label("Name").fill(EVIL[:30])
            await page.get_by_label("Your public key").fill(EVIL)
            await page.get_by_role("button", name="Rent").click()
            await expect(page.get_by_text("lower case letters", exact=False).first).to_be_visible()
            assert await page.evaluate("typeof owned") == "undefined"
            await context.add_cookies([{"name": "kgpud", "value": maintainer, "url": site.origin}])
            for path in (
                *("/admin", f"/admin?q={quote(EVIL)}", f"/admin/people/{account}"),
                *("/admin/rentals", f"/admin/rentals/{pod_id}/release"),
            ):
                await _looked_at(page, site.origin + path)
            audit = await _looked_at(page, f"{site.origin}/admin/audit")
            # They are all there: the client's name, the note, the address.
            assert audit.count("&lt;script&gt;owned") >= 2
            of_actions = audit.partition('id="actions"')[2].partition("</section>")[0]
            assert "&gt;&lt;img/src=x/onerror=owned=1&gt;@trusted.example" in of_actions
        await context.close()
        await one.post(f"/pods/{pod_id}/release", (await one.get("/")).csrf)


@asynccontextmanager
async def _elsewhere(document: str) -> AsyncIterator[str]:
    """Serve a hostile page on this machine: of the same site, as browsers see it."""

    async def serve(_request: web.Request) -> web.Response:
        return web.Response(text=document, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_another_page_neither_sends_our_forms_nor_frames_our_pages(
    site: Site, chromium: Chromium
) -> None:
    document = f"""<!doctype html><iframe src="{site.origin}/token"></iframe>
        <form method=post action="{site.origin}/token"><button>A kitten</button></form>"""
    async with browser(site) as boss, _elsewhere(document) as elsewhere:
        await boss.by_provider("boss")
        token = await _token_of(boss)
        context = await chromium.new_context()
        value = boss.cookies()["kgpud"]
        await context.add_cookies(
            [{"name": "kgpud", "value": value, "url": site.origin, "sameSite": "Lax"}]
        )
        page = await context.new_page()
        refused: list[str] = []
        page.on("console", lambda said: refused.append(said.text))
        await page.goto(elsewhere)
        assert any("frame-ancestors" in one for one in refused), refused
        await page.get_by_role("button", name="A kitten").click()
        await expect(page.get_by_text("forms are taken from our own pages alone")).to_be_visible()
        await context.close()
        headers = {"Authorization": f"Bearer {token}"}
        assert (await boss.fetch("GET", "/v1/me", headers=headers)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/sign-in?next=https://evil.example",
        "/sign-in?to=//evil.example",
        "//evil.example/sign-in",
        "/sign-in/callback?redirect_uri=https://evil.example&state=x&code=y",
        "/sign-in/provider?redirect_uri=https://evil.example",
        "/token?next=https://evil.example",
    ],
)
async def test_nobody_is_sent_elsewhere(site: Site, path: str) -> None:
    async with browser(site) as boss, browser(site) as stranger:
        await boss.by_provider("boss")
        for one in (boss, stranger):
            reply = await one.fetch(
                "GET", site.origin + path, headers={"Host": "evil.example", "Accept": "text/html"}
            )
            to = reply.headers.get("Location", "/")
            assert re.match(r"/[^/\\]|/$", to) or to.startswith(site.provider), to
            assert "evil" not in to


@pytest.mark.parametrize("odd", ["A", "%FF", "%00", "a" * 400, "..%2F..%2Fetc"])
async def test_what_is_no_id_leads_nowhere(site: Site, odd: str) -> None:
    async with browser(site) as boss:
        await boss.by_provider("boss")
        for path in ("/pods/{}", "/pods/{}/release", "/objects/{}", "/admin/people/{}"):
            assert (await boss.fetch("GET", path.format(odd))).status == 404, path


async def test_one_form_rents_one_pod(site: Site) -> None:
    async with browser(site) as bob:
        await bob.by_provider("bob")
        page = await bob.get("/rent")
        once = page.text.partition('name="once" value="')[2].partition('"')[0]
        form = {"gpu_model": "rtx3090", "name": "once", "once": once}
        first = await asyncio.gather(*(bob.post("/rent", page.csrf, **form) for _ in range(5)))
        csrf = (await bob.get("/")).csrf
        later = await bob.post("/rent", page.csrf, **form)
        assert [one.text.count("BEGIN OPENSSH") for one in first].count(1) == 1
        pods = [w for w in (await bob.get("/pods")).shown.split() if w.startswith("gpu-once-")]
        assert len(pods) == 1
        assert later.where.endswith(pods[0])
        await bob.post(f"/pods/{pods[0]}/release", csrf)


def test_cookies_over_tls_can_be_neither_read_nor_planted() -> None:
    response = web.Response()
    cookies.put(response, {cookies.BROWSER: "x", cookies.FLOW: "y"}, secure=True)
    for cookie in (response.cookies[f"__Host-{name}"] for name in (cookies.BROWSER, cookies.FLOW)):
        shown = cookie.OutputString()
        for word in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
            assert word in shown
        assert "Domain" not in shown


async def test_no_secret_that_a_page_showed_is_in_the_log(site: Site) -> None:
    async with browser(site) as bob:
        csrf = (await bob.by_provider("bob")).csrf
        token = await _token_of(bob)
        rented = await bob.post("/rent", csrf, gpu_model="v100", env="CANARY=in-the-mine")
        private = rented.text.partition("BEGIN OPENSSH PRIVATE KEY-----\n")[2][70:140]
        made = await bob.post("/objects", csrf, label="seen")
        signature = made.text.partition("signature=")[2][:30]
        pod_id = rented.text.partition('href="/pods/')[2].partition('"')[0]
        await bob.post(f"/pods/{pod_id}/release", csrf)
    log = site.config.with_suffix(".log")
    eventually(lambda: pod_id in log.read_text())
    for secret in (token, private, signature, "in-the-mine", csrf):
        assert len(secret) > 8
        assert secret not in log.read_text()
