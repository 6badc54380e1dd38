"""A browser without a window: cookies, forms, and redirects one at a time."""

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import aiohttp

from kgpud import statefolder
from kgpud.accounts import Accounts
from kgpud.clock import SystemClock
from kgpud.config import load
from kgpud.signin import SignIns
from store import ledger, rentals
from store.db import Database
from store.ledger import Usage
from tests.e2e.serve import kgpud


@dataclass(frozen=True)
class Site:
    """A running daemon and its provider."""

    config: Path
    provider: str

    @property
    def origin(self) -> str:
        lines = self.config.read_text().splitlines()
        listen = next(line for line in lines if line.startswith("listen"))
        return f"http://{listen.split(chr(34))[1]}"

    def kgpud(self, *words: str) -> str:
        return kgpud(*words, "--config", str(self.config)).strip()

    async def link(self, email: str) -> str:
        """Return a link as `kgpud user login-link` makes one, without a process for it."""
        settings, clock = load(self.config), SystemClock()
        async with Database.open(settings.state / statefolder.DATABASE) as db:
            accounts = Accounts(db, clock, trial_credits=0, quota_gpus=0, quota_cpu_pods=0)
            secret = await SignIns(db, clock, accounts).link(email, "cli:test")
            return f"{self.origin}/sign-in/link/{secret}"

    async def use(self, pod_id: str, days: Iterable[int]) -> None:
        """Have a rental used for a minute, gratis, on each of these days since the epoch."""
        settings = load(self.config)
        async with (
            Database.open(settings.state / statefolder.DATABASE) as db,
            db.transaction() as tx,
        ):
            rental = await rentals.get(tx, pod_id)
            assert rental is not None
            used = [Usage(rental.account_id, pod_id, 24 * day, 1, 0, 0) for day in days]
            await ledger.add_usage(tx, used, 0)


@dataclass(frozen=True)
class Reply:
    """One answer; `where` is what it was asked for."""

    status: int
    text: str
    headers: Mapping[str, str]
    where: str

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]{96})"', self.text)
        assert found, self.text
        return found[1]

    @property
    def shown(self) -> str:
        """What a reader sees, roughly."""
        body = self.text.partition("</header>")[2]
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


class Browser:
    """Somebody's browser at a site."""

    def __init__(self, http: aiohttp.ClientSession, origin: str) -> None:
        self._http = http
        self.origin = origin

    async def fetch(self, method: str, path: str, **options: object) -> Reply:
        """Ask once; a redirect is an answer."""
        url = urljoin(self.origin, path)
        options = {"allow_redirects": False, **options}
        async with self._http.request(method, url, **options) as reply:  # type: ignore[arg-type]
            return Reply(reply.status, await reply.text(), dict(reply.headers), str(reply.url))

    def stream(self, path: str) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Ask for what has no end."""
        return self._http.get(urljoin(self.origin, path))

    async def get(self, path: str) -> Reply:
        """Ask for a page and follow where it leads."""
        reply = await self.fetch("GET", path)
        for _ in range(5):
            if reply.status not in (302, 303):
                return reply
            reply = await self.fetch("GET", urljoin(reply.where, reply.headers["Location"]))
        raise AssertionError("redirects without end")

    async def post(self, path: str, csrf: str = "", **fields: str) -> Reply:
        """Send a form as a page of the site would, and follow where it leads."""
        data = {**fields, **({"csrf": csrf} if csrf else {})}
        reply = await self.fetch("POST", path, data=data, headers={"Origin": self.origin})
        return reply if reply.status != 303 else await self.get(reply.headers["Location"])

    async def by_link(self, site: Site, email: str) -> Reply:
        """Sign in by a one-time link from the shell."""
        link = await site.link(email)
        page = await self.get(link)
        csrf = page.csrf if 'name="csrf"' in page.text else ""
        return await self.post("/sign-in/link", csrf, secret=link.rpartition("/")[2])

    async def to_provider(self) -> str:
        """Begin to sign in; return the provider's address with our query."""
        reply = await self.fetch("GET", "/sign-in/provider")
        assert reply.status == 303, reply.text
        return reply.headers["Location"]

    async def as_subject(self, address: str, subject: str) -> str:
        """Sign in at the provider; return where it sends the browser back to."""
        reply = await self.fetch("POST", address, data={"sub": subject})
        assert reply.status in (302, 303), reply.text
        return reply.headers["Location"]

    async def by_provider(self, subject: str) -> Reply:
        """Sign in by the provider, all the way."""
        return await self.get(await self.as_subject(await self.to_provider(), subject))

    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self._http.cookie_jar}


@asynccontextmanager
async def browser(site: Site) -> AsyncIterator[Browser]:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        yield Browser(http, site.origin)
