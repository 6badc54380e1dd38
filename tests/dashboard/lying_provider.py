"""An OpenID provider that tells what a test wants it to tell, true or not."""

import base64
import functools
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "urn:kgpud:dash", "s:e c+r%t"

Answer = Callable[[web.Request], web.StreamResponse]


@functools.cache
def key(number: int) -> RSAKey:
    """Return a key; all have the same name."""
    del number
    return RSAKey.generate_key(2048, {"kid": "one"})


@dataclass
class Lies:
    """What is told instead of the truth; nothing by default."""

    claims: dict[str, Any] = field(default_factory=dict)
    #: Claims to leave out.
    without: tuple[str, ...] = ()
    discovery: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = None
    #: Instead of an endpoint's answer, by its path.
    answers: dict[str, Answer] = field(default_factory=dict)
    signer: RSAKey | None = None
    #: Make a MAC with this in place of a signature.
    mac: bytes | None = None
    id_token: str | None = None
    keys: object = None


class LyingProvider:
    """A provider whose only user is Ada. `issuer` is where it is reached."""

    def __init__(self) -> None:
        self.issuer = ""
        self.key = key(0)
        self.lies = Lies()
        self._asked: dict[str, str] = {}

    def authorize(self, address: str) -> dict[str, str]:
        """Sign Ada in; return the query that the browser is sent back with."""
        self._asked = {
            name: values[0] for name, values in parse_qs(urlsplit(address).query).items()
        }
        return {"state": self._asked["state"], "code": "a-code"}

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            **self.lies.discovery,
        }

    def keys(self) -> object:
        return self.lies.keys or {"keys": [self.key.as_dict(private=False)]}

    async def tokens(self, request: web.Request) -> dict[str, Any]:
        """Give tokens to who sends the client's secret, the code and the challenge's verifier."""
        form = await request.post()
        given = base64.b64decode(request.headers["Authorization"].split()[1]).decode()
        assert [unquote_plus(word) for word in given.split(":")] == [CLIENT, SECRET]
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        assert (form["code"], _base64url(digest)) == ("a-code", self._asked["code_challenge"])
        return {"access_token": "an-access-token", "id_token": self.lies.id_token or self._token()}

    def _token(self) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "ada",
            "iat": now,
            "exp": now + 300,
            "nonce": self._asked["nonce"],
            "name": "Ada",
            "email": "ada@example.org",
            "email_verified": True,
        }
        claims |= self.lies.claims
        claims = {name: value for name, value in claims.items() if name not in self.lies.without}
        if self.lies.mac is not None:
            return _with_mac(claims, self.lies.mac)
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.lies.signer or self.key)


def _with_mac(claims: dict[str, Any], secret: bytes) -> str:
    """Write a token by hand: no library makes one with a public key for its secret."""
    head = _base64url(json.dumps({"alg": "HS256", "kid": "one"}).encode())
    text = f"{head}.{_base64url(json.dumps(claims).encode())}"
    return f"{text}.{_base64url(hmac.digest(secret, text.encode(), 'sha256'))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@asynccontextmanager
async def lying() -> AsyncIterator[LyingProvider]:
    provider = LyingProvider()

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.path in provider.lies.answers:
            return provider.lies.answers[request.path](request)
        match request.path:
            case "/.well-known/openid-configuration":
                told: object = provider.discovery()
            case "/keys":
                told = provider.keys()
            case "/token":
                told = await provider.tokens(request)
            case _:
                assert request.headers["Authorization"] == "Bearer an-access-token"
                told = provider.lies.userinfo
        return web.Response(text=json.dumps(told), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        provider.issuer = f"http://{host}:{port}"
        yield provider
    finally:
        await runner.cleanup()
