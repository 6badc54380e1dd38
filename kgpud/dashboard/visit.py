"""What a page is given, and what it answers."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kgpud.dashboard.oidc import Provider
from kgpud.errors import Code, UserError
from kgpud.rest.call import Services
from kgpud.rest.shapes.streams import EventStream
from kgpud.signin import SignIns
from store.records import Account


@dataclass(frozen=True)
class Site:
    """What the pages stand on.

    `provider` signs people in where one is configured, and `provider_name` is what they call it.
    """

    services: Services
    sign_ins: SignIns
    provider: Provider | None = None
    provider_name: str = ""
    #: Tells this daemon's marks from those of the one before it.
    run: str = field(default_factory=lambda: secrets.token_hex(4))

    def told(self) -> str:
        """Return a mark that is another one once a rental has changed."""
        return f"{self.run}-{self.services.rentals.changes.told}"

    @property
    def origin(self) -> str:
        """Where users reach the server: ``https://kgpu.net``, without a slash at its end."""
        return self.services.api_base.removesuffix("/v1")

    @property
    def secure(self) -> bool:
        """Whether browsers come by TLS, so that cookies may insist on it."""
        return self.origin.startswith("https://")


@dataclass(frozen=True)
class Visit:
    """One request that passed its route's checks.

    `visitor` is None where nobody is signed in, and `browser`, the browser's secret, is "" then.
    `form` holds the fields of a POST or of a query, by name; of a name sent twice the last one
    counts.
    """

    site: Site
    visitor: Account | None
    browser: str
    path: Mapping[str, str]
    cookies: Mapping[str, str]
    form: Mapping[str, str] = field(default_factory=dict)
    #: The site's mark when the visit began: what is shown is as new as that, or newer.
    told: str = ""

    @property
    def services(self) -> Services:
        """The services that the API stands on, too."""
        return self.site.services

    @property
    def account(self) -> Account:
        """Who is signed in. Raises UserError on a page that anybody may see."""
        if self.visitor is None:
            raise UserError(Code.SIGN_IN_FAILED, "sign in first")
        return self.visitor

    def csrf(self) -> str:
        """Return what a form of this browser carries: only our own pages can know it.

        It is never the same twice, so that the length of compressed pages tells nothing of it.
        """
        salt = secrets.token_hex(16)
        return salt + self._mac(salt)

    def is_ours(self, csrf: str) -> bool:
        """Tell whether a form carries what `csrf` returned for this browser."""
        salt, mac = csrf[:32], csrf[32:]
        return hmac.compare_digest(mac.encode(), self._mac(salt).encode())

    def _mac(self, salt: str) -> str:
        return hmac.new(self.browser.encode(), f"csrf:{salt}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Page:
    """A template to show, with what it needs."""

    template: str
    context: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    #: Another origin that the page's script sends to: where uploads go.
    reaches: str = ""


@dataclass(frozen=True)
class File:
    """A text to save."""

    text: str
    media_type: str
    name: str


@dataclass(frozen=True)
class Redirect:
    """The page of ours to go to next, with cookies to set; one whose value is None is removed."""

    to: str
    cookies: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class ToProvider:
    """Send the browser to the provider at `address`, with the new sign-in's secret."""

    address: str
    flow: str


Answer = Page | File | Redirect | ToProvider | EventStream
