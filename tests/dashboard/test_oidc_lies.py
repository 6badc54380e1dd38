"""A provider that lies, breaks, hangs or is not there signs nobody in."""

import socket
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from kgpud.dashboard.oidc import Provider, new_flow
from kgpud.errors import Code, UserError
from kgpud.signin import Identity

from .lying_provider import CLIENT, SECRET, Lies, LyingProvider, key, lying

HERE = "https://kgpu.example/sign-in/callback"
ADA = ("ada", "ada@example.org", "Ada")


@pytest.fixture
async def liar() -> AsyncIterator[LyingProvider]:
    async with lying() as provider:
        yield provider


def _provider(liar: LyingProvider) -> Provider:
    return Provider(liar.issuer, CLIENT, SECRET, seconds=5)


async def _sign_in(provider: Provider, liar: LyingProvider) -> Identity:
    flow = new_flow()
    back = liar.authorize(await provider.address(flow, HERE))
    return await provider.identity(flow, back, HERE)


async def _refused(liar: LyingProvider) -> str:
    with pytest.raises(UserError) as refused:
        await _sign_in(_provider(liar), liar)
    assert refused.value.code is Code.SIGN_IN_FAILED
    return refused.value.message


async def test_the_truth_signs_in(liar: LyingProvider) -> None:
    identity = await _sign_in(_provider(liar), liar)
    assert (identity.subject, identity.email, identity.name) == ADA


async def test_what_only_userinfo_tells_counts(liar: LyingProvider) -> None:
    liar.lies = Lies(
        without=("email", "email_verified"),
        userinfo={"sub": "ada", "email": "ada@example.org", "email_verified": True},
    )
    assert (await _sign_in(_provider(liar), liar)).email == "ada@example.org"


@pytest.mark.parametrize(
    "lies",
    [
        Lies(claims={"nonce": "another"}),
        Lies(without=("nonce",)),
        Lies(claims={"aud": "somebody-else"}),
        Lies(claims={"aud": ["somebody-else"]}),
        Lies(claims={"aud": [CLIENT, "somebody-else"]}),
        Lies(claims={"azp": "somebody-else"}),
        Lies(without=("aud",)),
        Lies(claims={"iss": "https://evil.example"}),
        Lies(claims={"exp": 1_000_000_000}),
        Lies(claims={"nbf": 4_000_000_000}),
        Lies(claims={"exp": "tomorrow"}),
        Lies(without=("exp",)),
        Lies(without=("sub",)),
        Lies(without=("email",), userinfo={"sub": "eve", "email": "eve@example.org"}),
        Lies(without=("email",), userinfo=None),
        Lies(claims={"email_verified": False}),
        Lies(claims={"email_verified": "true"}),
        Lies(without=("email_verified",)),
        Lies(claims={"email": "nonsense"}),
        Lies(claims={"email": ["ada@example.org"]}),
    ],
    ids=lambda lies: f"{lies.claims or lies.without}"[:60],
)
async def test_a_token_that_does_not_say_all_of_it(liar: LyingProvider, lies: Lies) -> None:
    liar.lies = lies
    await _refused(liar)


async def test_a_signature_of_somebody_else(liar: LyingProvider) -> None:
    liar.lies = Lies(signer=key(1))
    await _refused(liar)


@pytest.mark.parametrize("secret", ["of the client", "of everybody"])
async def test_a_signature_that_the_browser_could_have_made(
    liar: LyingProvider, secret: str
) -> None:
    known = SECRET.encode() if secret == "of the client" else liar.key.as_pem(private=False)
    liar.lies = Lies(mac=known)
    await _refused(liar)


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.", "é.é.é", "." * 200_000],
    ids=lambda token: token[:10] or "none",
)
async def test_a_token_that_is_none(liar: LyingProvider, token: str) -> None:
    liar.lies = Lies(id_token=token or "null")
    await _refused(liar)


def _text(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status)


_BROKEN = {
    "500": lambda _request: _text("oops", 500),
    "html": lambda _request: _text("<html>"),
    "list": lambda _request: _text("[]"),
    "empty": lambda _request: _text("{}"),
    "deep": lambda _request: _text("[" * 100_000),
    "endless": lambda _request: _text(" " * 1_000_000),
    "redirect": lambda _request: web.Response(status=307, headers={"Location": "/elsewhere"}),
}


@pytest.mark.parametrize("how", _BROKEN)
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys"])
async def test_an_answer_that_is_none(liar: LyingProvider, path: str, how: str) -> None:
    liar.lies = Lies(answers={path: _BROKEN[how]})
    assert "did not answer as it should" in await _refused(liar)


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "ftp://evil.example/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
        {"userinfo_endpoint": 7},
    ],
    ids=str,
)
async def test_a_description_that_leads_astray(
    liar: LyingProvider, discovery: dict[str, object]
) -> None:
    liar.lies = Lies(discovery=discovery)
    await _refused(liar)


@pytest.mark.parametrize("keys", [{"keys": [1]}, {"keys": [{"kty": "RSA"}]}, {"keys": 7}], ids=str)
async def test_keys_that_are_none(liar: LyingProvider, keys: object) -> None:
    liar.lies = Lies(keys=keys)
    await _refused(liar)


async def test_keys_are_replaced_between_two_sign_ins(liar: LyingProvider) -> None:
    provider = _provider(liar)
    await _sign_in(provider, liar)
    old = liar.key
    liar.key = key(1)
    assert (await _sign_in(provider, liar)).subject == "ada"
    # What is signed with a key that was taken back is worth nothing.
    liar.lies = Lies(signer=old)
    with pytest.raises(UserError):
        await _sign_in(provider, liar)


async def test_a_key_of_a_kind_that_nobody_knows_yet_is_passed_over(liar: LyingProvider) -> None:
    new = {"kty": "AKP", "alg": "ML-DSA-44", "kid": "new", "pub": "AAAA"}
    liar.lies = Lies(keys={"keys": [new, liar.key.as_dict(private=False)]})
    assert (await _sign_in(_provider(liar), liar)).subject == "ada"


async def test_a_provider_that_hangs_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        issuer = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match="try again later"):
            await Provider(issuer, CLIENT, SECRET, seconds=0.1).address(new_flow(), HERE)


async def test_a_provider_that_is_away_comes_back(liar: LyingProvider) -> None:
    provider = _provider(liar)
    liar.lies = Lies(answers={"/.well-known/openid-configuration": _BROKEN["500"]})
    with pytest.raises(UserError):
        await provider.address(new_flow(), HERE)
    liar.lies = Lies()
    assert (await _sign_in(provider, liar)).subject == "ada"


async def test_no_two_sign_ins_ask_for_the_same(liar: LyingProvider) -> None:
    provider = _provider(liar)
    asked = [parse_qs(urlsplit(await provider.address(new_flow(), HERE)).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]
