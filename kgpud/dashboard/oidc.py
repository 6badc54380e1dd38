"""Sign-in by an OpenID Connect provider: the code flow with PKCE, state and nonce.

OpenID Connect Core 1.0 and Discovery 1.0, RFC 7636, RFC 9700. joserfc does the cryptography.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from kgpud.errors import Code, UserError
from kgpud.signin import Identity

log = structlog.get_logger()

_ANSWER_BYTES = 256 * 1024
_KNOWN_SECONDS = 3600.0
_LEEWAY_SECONDS = 60
# Signatures only: never "none", never a MAC made with a secret that the browser's side could know.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]

Claims = Mapping[str, Any]


class _ProviderError(Exception):
    """The provider did not answer as the standard says; the text is for the log."""


def new_flow() -> str:
    """Return the secret of one attempt to sign in, kept in the browser's cookie alone.

    State, nonce and PKCE verifier are derived from it, so nothing need be kept here.
    """
    return secrets.token_urlsafe(32)


def _derived(flow: str, use: str) -> str:
    mac = hmac.new(flow.encode("utf-8", "surrogateescape"), use.encode(), hashlib.sha256).digest()
    return _base64url(mac)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass
class Provider:
    """A provider as the operator configured it; what it says of itself is asked for when needed."""

    issuer: str
    client_id: str
    client_secret: str | None = field(repr=False)
    #: How long it may take over all that one step of a sign-in asks of it.
    seconds: float = 10.0
    _known: tuple[float, Claims] | None = field(default=None, repr=False)

    async def address(self, flow: str, redirect_uri: str) -> str:
        """Return where to send the browser. Raises UserError SIGN_IN_FAILED."""
        try:
            async with self._session() as http:
                about = await self._about(http)
        except (aiohttp.ClientError, TimeoutError, _ProviderError) as error:
            raise _failed(self.issuer, error) from error
        challenge = _base64url(hashlib.sha256(_derived(flow, "verifier").encode()).digest())
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid email profile",
            "state": _derived(flow, "state"),
            "nonce": _derived(flow, "nonce"),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        separator = "&" if "?" in about["authorization_endpoint"] else "?"
        return f"{about['authorization_endpoint']}{separator}{urlencode(query)}"

    async def identity(self, flow: str, answer: Mapping[str, str], redirect_uri: str) -> Identity:
        """Return whom the provider vouches for, from the query it sent the browser back with.

        Raises UserError SIGN_IN_FAILED: denied, forged, replayed, unverified e-mail, no answer.
        """
        if not hmac.compare_digest(
            answer.get("state", "").encode(), _derived(flow, "state").encode()
        ):
            raise UserError(Code.SIGN_IN_FAILED, "this sign-in was not begun here: try again")
        if "code" not in answer:
            raise UserError(Code.SIGN_IN_FAILED, "the provider did not sign you in: try again")
        try:
            async with self._session() as http:
                about = await self._about(http)
                tokens = await self._redeem(http, about, flow, answer["code"], redirect_uri)
                claims = await self._checked(http, about, flow, tokens)
                claims = await self._with_email(http, about, tokens, claims)
        except (aiohttp.ClientError, TimeoutError, JoseError, _ProviderError) as error:
            raise _failed(self.issuer, error) from error
        return _identity(self.issuer, claims)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.seconds))

    async def _about(self, http: aiohttp.ClientSession) -> Claims:
        """Return the discovery document, at most an hour old."""
        now = time.monotonic()
        if self._known is None or now - self._known[0] > _KNOWN_SECONDS:
            url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            self._known = now, self._believed(await _get(http, url))
        return self._known[1]

    def _believed(self, about: Claims) -> Claims:
        """Return a discovery document that is the issuer's, and leads nowhere less safe."""
        if about.get("issuer") != self.issuer:
            raise _ProviderError("discovery names another issuer")
        needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        for name in (*needed, "userinfo_endpoint"):
            url = about.get(name, "" if name in needed else self.issuer)
            # An issuer without TLS is on this very machine.
            if urlsplit(str(url)).scheme not in ("https", urlsplit(self.issuer).scheme):
                raise _ProviderError(f"discovery has no safe {name}")
        return about

    async def _redeem(
        self, http: aiohttp.ClientSession, about: Claims, flow: str, code: str, redirect_uri: str
    ) -> Claims:
        """Exchange the code for tokens (OpenID Connect Core 3.1.3)."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self.client_id,
            "code_verifier": _derived(flow, "verifier"),
        }
        methods = about.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        headers = {}
        if self.client_secret is not None and "client_secret_basic" in methods:
            # Encoded as a form's fields (RFC 6749, 2.3.1): an id may hold a colon.
            login, password = quote_plus(self.client_id), quote_plus(self.client_secret)
            headers["Authorization"] = aiohttp.encode_basic_auth(login, password)
        elif self.client_secret is not None:
            form["client_secret"] = self.client_secret
        url = about["token_endpoint"]
        async with http.post(url, data=form, headers=headers, allow_redirects=False) as response:
            tokens = await _json(response)
        if not isinstance(tokens.get("id_token"), str):
            raise _ProviderError("no id_token")
        return tokens

    async def _checked(
        self, http: aiohttp.ClientSession, about: Claims, flow: str, tokens: Claims
    ) -> Claims:
        """Return the ID token's claims once all are as OpenID Connect Core 3.1.3.7 wants them."""
        keys = _keys(await _get(http, about["jwks_uri"]))
        claims = jwt.decode(tokens["id_token"], keys, algorithms=_ALGORITHMS).claims
        jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": _derived(flow, "nonce")},
        ).validate(claims)
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if (several or "azp" in claims) and claims.get("azp") != self.client_id:
            raise _ProviderError("the ID token is for somebody else")
        return claims

    async def _with_email(
        self, http: aiohttp.ClientSession, about: Claims, tokens: Claims, claims: Claims
    ) -> Claims:
        """Add what only the userinfo endpoint tells (Core 5.3.2: of the same subject)."""
        url, access = about.get("userinfo_endpoint"), tokens.get("access_token")
        if "email" in claims or not isinstance(url, str) or not isinstance(access, str):
            return claims
        told = await _get(http, url, {"Authorization": f"Bearer {access}"})
        if told.get("sub") != claims["sub"]:
            raise _ProviderError("userinfo is about somebody else")
        return {**told, **claims}


def _keys(told: Claims) -> KeySet:
    try:
        return KeySet.import_key_set(dict(told))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise _ProviderError("its keys are none") from error


async def _get(
    http: aiohttp.ClientSession, url: str, headers: Mapping[str, str] | None = None
) -> Claims:
    async with http.get(url, headers=headers, allow_redirects=False) as response:
        return await _json(response)


async def _json(response: aiohttp.ClientResponse) -> Claims:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _ANSWER_BYTES:
            raise _ProviderError("an answer without end")
    if response.status != 200:  # noqa: PLR2004
        raise _ProviderError(f"{response.url.path} answered {response.status}")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise _ProviderError(f"{response.url.path} answered no JSON") from None
    if not isinstance(data, dict):
        raise _ProviderError(f"{response.url.path} answered no JSON object")
    return data


def _identity(issuer: str, claims: Claims) -> Identity:
    email = claims.get("email")
    if not isinstance(email, str) or "@" not in email or claims.get("email_verified") is not True:
        raise UserError(
            Code.SIGN_IN_FAILED,
            "the provider has not verified your e-mail address: do it there",
        )
    name = claims.get("name")
    shown = name if isinstance(name, str) and name.strip() else email.partition("@")[0]
    return Identity(issuer, str(claims["sub"]), email, shown[:100])


def _failed(issuer: str, error: Exception) -> UserError:
    log.warning("sign_in.provider_failed", issuer=issuer, error=f"{type(error).__name__}: {error}")
    return UserError(
        Code.SIGN_IN_FAILED, "the sign-in provider did not answer as it should: try again later"
    )
